"""Schema migrations of the centre's database, run by Alembic from these files."""
