"""agents' intervals, facts and sums for reports

Revision ID: 0016
Revises: 0007

New tables only: the version before this one runs on, and does not fill them. ``callplane centre rebuild`` does, for the
calls from before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0007"
branch_labels = None
depends_on = None

CALLS = (
    "offered", "answered", "in_time", "abandoned", "short_abandons", "refused", "wait_ms", "handled", "talk_ms",
    "wrap_ms", "transferred", "csat_answers", "csat_satisfied", "first_contacts", "resolved",
)  # fmt: skip
AGENTS = ("ready_ms", "busy_ms", "not_ready_ms", "on_call_ms", "wrap_state_ms")


def upgrade() -> None:
    op.create_table(
        "agents_now",
        sa.Column("agent_id", sa.String(26), nullable=False),
        sa.Column("pop_id", sa.String(31), nullable=False),
        sa.Column("journal_id", sa.String(26), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(15), nullable=True),
        sa.Column("reason", sa.String(200), nullable=True),
        sa.Column("state", sa.String(15), nullable=True),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("call_id", sa.String(26), nullable=True),
        sa.Column("queue_id", sa.String(63), nullable=True),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_agents_now")),
    )
    op.create_table(
        "agent_states",
        sa.Column("agent_id", sa.String(26), nullable=False),
        sa.Column("journal_id", sa.String(26), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("pop_id", sa.String(31), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("status", sa.String(15), nullable=False),
        sa.Column("reason", sa.String(200), nullable=True),
        sa.Column("state", sa.String(15), nullable=False),
        sa.Column("call_id", sa.String(26), nullable=True),
        sa.Column("queue_id", sa.String(63), nullable=True),
        sa.PrimaryKeyConstraint("agent_id", "journal_id", "seq", name=op.f("pk_agent_states")),
    )
    op.create_index(op.f("ix_agent_states_agent_id_began_at"), "agent_states", ["agent_id", "began_at"])
    op.create_index(op.f("ix_agent_states_call_id"), "agent_states", ["call_id"])
    op.create_table(
        "report_facts",
        sa.Column("call_id", sa.String(26), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("pop_id", sa.String(31), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("entered_at", sa.Double(), nullable=False),
        sa.Column("queue_id", sa.String(63), nullable=True),
        sa.Column("agent_id", sa.String(26), nullable=True),
        sa.Column("did", sa.String(16), nullable=True),
        sa.Column("country", sa.String(2), nullable=True),
        sa.Column("number", sa.String(64), nullable=True),
        sa.Column("inbound", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Integer(), server_default="0", nullable=False) for name in CALLS),
        sa.PrimaryKeyConstraint("call_id", "n", name=op.f("pk_report_facts")),
    )
    for first, second in (("queue_id", "start_at"), ("agent_id", "start_at"), ("number", "entered_at")):
        op.create_index(op.f(f"ix_report_facts_{first}_{second}"), "report_facts", [first, second])
    op.create_index(op.f("ix_report_facts_start_at"), "report_facts", ["start_at"])
    op.create_table(
        "report_sums",
        sa.Column("dimension", sa.String(15), nullable=False),
        sa.Column("value", sa.String(63), nullable=False),
        sa.Column("span", sa.Integer(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), server_default="0", nullable=False) for name in (*CALLS, *AGENTS)),
        sa.PrimaryKeyConstraint("dimension", "value", "span", "start_at", name=op.f("pk_report_sums")),
    )
    op.create_index(op.f("ix_report_sums_dimension_span_start_at"), "report_sums", ["dimension", "span", "start_at"])


def downgrade() -> None:
    for table in ("report_sums", "report_facts", "agent_states", "agents_now"):
        op.drop_table(table)
