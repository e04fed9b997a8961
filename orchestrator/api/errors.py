"""Problems as responses: application/problem+json (RFC 9457) with a stable ``error_id``."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import ClientConnectionResetError, web
from pydantic import Field
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from orchestrator.api.answer import Answer
from orchestrator.domain import problems
from orchestrator.domain.problems import FieldError, Problem

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
STATUS: tuple[tuple[type[Problem], int], ...] = (
    (problems.Invalid, 422),
    (problems.NotFound, 404),
    (problems.Exists, 409),
    (problems.InUse, 409),
    (problems.Conflict, 409),
    (problems.Stale, 412),
    (problems.NotReadable, 415),
    (problems.KeyReused, 422),
    (problems.Unauthorized, 401),
    (problems.Forbidden, 403),
    (problems.TooMany, 429),
    (problems.ProviderUnreachable, 503),
    (problems.NotReady, 503),
    (problems.PopUnreachable, 503),
    (problems.PopTimeout, 504),
    (problems.PopRefused, 409),
)
TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Changed meanwhile",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Invalid",
    429: "Too many failures",
    500: "Internal error",
    503: "Unavailable",
    504: "No answer in time",
}


class FieldProblem(Answer):
    field: str
    reason: str
    row: int | None = None
    """Of an import: the line of the file, from 1; of CSV the first one holds the names."""


class ProblemBody(Answer):
    type: str = "about:blank"
    title: str
    status: int
    error_id: str
    """Stable; programs may rely on it."""
    detail: str
    errors: list[FieldProblem] = Field(default_factory=list)


class NotJson(Problem):
    error_id = "not_json"


def problem_response(status: int, error_id: str, detail: str, errors: Sequence[FieldError] = ()) -> web.Response:
    body = ProblemBody(
        title=TITLES.get(status, "Problem"),
        status=status,
        error_id=error_id,
        detail=detail,
        errors=[FieldProblem(field=e.field, reason=e.reason, row=e.row) for e in errors],
    )
    response = web.Response(body=body.model_dump_json(), status=status, content_type=CONTENT_TYPE)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="callplane"'
    return response


def _status(problem: Problem) -> int:
    if isinstance(problem, problems.PopRefused) and problem.error_id.startswith(("unknown_", "not_found")):
        return 404
    return next((status for kind, status in STATUS if isinstance(problem, kind)), 400)


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        response = problem_response(_status(problem), problem.error_id, problem.detail, problem.errors)
        if isinstance(problem, problems.TooMany):
            response.headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_s)))
        return response
    except ClientConnectionResetError:
        raise  # the client left; there is nobody to answer
    except web.HTTPException as error:
        if error.status < 400:
            raise
        words = {404: "no_such_path", 405: "method_not_allowed", 413: "too_large"}
        response = problem_response(error.status, words.get(error.status, "bad_request"), error.reason or "")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except (SQLAlchemyError, OSError) as error:
        # A statement that the database refused is our bug; a connection that is not there is the database's state.
        if isinstance(error, OSError) or (isinstance(error, DBAPIError) and _is_connection(error)):
            log.error("database away: %s", type(error).__name__, extra={"error_id": "database_unavailable"})
            return problem_response(503, "database_unavailable", "the database cannot be reached")
        # The database's own words may quote a number or a name: the log gets the place, not the words.
        place = "".join(traceback.format_tb(error.__traceback__))
        log.error("request failed: %s\n%s", type(error).__name__, place, extra={"error_id": "internal"})
        return problem_response(500, "internal", "an error of the server; its log says more")
    except Exception:  # the border: whatever else goes wrong is logged and answered
        log.exception("request failed", extra={"error_id": "internal"})
        return problem_response(500, "internal", "an error of the server; its log says more")


def _is_connection(error: DBAPIError) -> bool:
    kinds = ("OperationalError", "InterfaceError")
    # PostgreSQL's classes 08 (connection) and 57P (going down, starting up), and 53300: all connections are taken.
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return error.connection_invalidated or type(error).__name__ in kinds or state.startswith(("08", "57P", "53300"))
