"""Routes whose answers are written as JSON by the threads that make them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

__all__ = ['WrittenRoute']


class WrittenRoute(APIRoute):
    """A route whose answer is a model of ours, checked when it was made.

    FastAPI checks it once more, in another thread, and writes it in the one that serves all clients.

    Args:
        path: Of the route.
        endpoint: What answers; OpenAPI says of it what it is annotated with.
        options: Of ``APIRoute``.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _written(endpoint, options.get('status_code') or 200), **options)


def _written(endpoint: Callable[..., Any], status: int) -> Callable[..., Any]:
    if iscoroutinefunction(endpoint):
        return endpoint

    @wraps(endpoint)
    def written(*args: Any, **values: Any) -> Any:
        answer = endpoint(*args, **values)
        if not isinstance(answer, BaseModel):
            return answer
        return Response(answer.model_dump_json(), status, media_type='application/json')

    return written
