"""Flow and case files."""

from __future__ import annotations

from dialplans.documents import Unusable as Unusable
from dialplans.documents import graph_in as graph_in
from dialplans.documents import read as read
