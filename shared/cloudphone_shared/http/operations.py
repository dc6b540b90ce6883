"""How a BFF's operations are declared and documented."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Response, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import ScalarRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import Components, OpenAPI, SecurityScheme, Tag
from litestar.params import HeaderParameter

from .app import PUBLIC
from .preconditions import etag
from .problems import problems

T = TypeVar("T")

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        pattern=r'^(\*|"v[0-9]{1,16}")$',
        description="The resource's own ETag, as in `\"v1000000000017\"`; never a view's",
    ),
]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="Sent again with the same body, the first answer comes back",
    ),
]

BEARER = "bearer"


def shows(shape: type[msgspec.Struct], *refusals: int) -> dict[int, ResponseSpec]:
    """For a handler's `responses` that answers a cached view of `shape`; Litestar cannot see it in `-> ASGIApp`."""
    view = ResponseSpec(
        shape, description="The view; `degraded` names the parts that are not as fresh", generate_examples=False
    )
    unchanged = ResponseSpec(None, description="Unchanged since the ETag in If-None-Match", generate_examples=False)
    return {200: view, 304: unchanged, **problems(*refusals)}


def created(path: str, resource: T) -> Response[T]:
    """201 with the place where the new resource is."""
    return Response(resource, status_code=201, headers={"Location": path})


async def name_version(response: Any) -> Any:
    """An `after_request` hook: a resource that has a version is answered with its ETag."""
    content: object = getattr(response, "content", None)
    version: object = getattr(content, "version", None) if isinstance(content, msgspec.Struct) else None
    if isinstance(version, int):
        response.set_header("ETag", etag(version))
    return response


def documentation(title: str, version: str, description: str, tags: dict[str, str]) -> OpenAPIConfig:
    """JSON at `/schema/openapi.json`, pages at `/schema`. Operations are called after their handlers, in camelCase."""
    return OpenAPIConfig(
        title=title,
        version=version,
        description=description,
        openapi_router=Router("/schema", route_handlers=[], opt=PUBLIC, include_in_schema=False),
        tags=[Tag(name=name, description=text) for name, text in tags.items()],
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        render_plugins=[ScalarRenderPlugin(), SwaggerRenderPlugin()],
        components=Components(
            security_schemes={BEARER: SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
        ),
        security=[{BEARER: []}],
    )


def illustrate(document: OpenAPI, examples: Iterable[msgspec.Struct]) -> None:
    """Puts examples to the schemas of their types, as far as the document has them."""
    schemas = document.components.schemas if document.components else {}
    for example in examples:
        if (schema := schemas.get(type(example).__name__)) is not None:
            schema.examples = [msgspec.to_builtins(example)]


def _operation_id(handler: HTTPRouteHandler, method: object, path: object) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), handler.handler_name)
