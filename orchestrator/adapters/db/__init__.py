from orchestrator.adapters.db import access_models as access_models  # all tables are known once one is
