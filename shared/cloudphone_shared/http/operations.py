"""How a BFF's operations are declared and documented."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from litestar import Response, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import ScalarRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPI,
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
    SecurityScheme,
    Tag,
)
from litestar.params import HeaderParameter, QueryParameter
from litestar.types import Receive, Scope, Send

from .app import PUBLIC
from .preconditions import etag
from .problems import problems
from .streams import Flow

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


PICTURE = {200: ResponseSpec(bytes, media_type="image/png", description="A PNG", generate_examples=False)}
"""For the `responses` of a handler that answers a picture."""
PICTURES = {200: ResponseSpec(bytes, media_type="image/*", description="A picture", generate_examples=False)}
"""As PICTURE, of either kind that `picture` knows."""
OCTETS = {
    200: ResponseSpec(bytes, media_type="application/octet-stream", description="The content", generate_examples=False)
}
"""For the `responses` of a handler that answers a file."""
PDF = {200: ResponseSpec(bytes, media_type="application/pdf", description="A PDF", generate_examples=False)}
CSV = {200: ResponseSpec(bytes, media_type="text/csv", description="A table", generate_examples=False)}
Form = Annotated[Literal["json", "csv"], QueryParameter(name="format", description="`csv` for a table of it")]
"""Taken by a handler that answers `in_form`, and has `AlsoTable` as its `operation_class`."""


def picture(octets: bytes) -> Response[bytes]:
    """A PNG or a WebP as the answer."""
    return Response(octets, media_type="image/png" if octets.startswith(b"\x89PNG") else "image/webp")


def octets_in(media_type: str = "application/octet-stream") -> type[Operation]:
    """The `operation_class` of a handler that reads its body in pieces, which Litestar cannot see."""

    @dataclass
    class OfOctets(Operation):
        def __post_init__(self) -> None:
            content = {
                media_type: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))
            }
            self.request_body = RequestBody(content=content, required=True)

    return OfOctets


@dataclass
class AlsoTable(Operation):
    """The `operation_class` of a handler whose answer may be asked for as CSV."""

    def __post_init__(self) -> None:
        answer = (self.responses or {}).get("200")
        if isinstance(answer, OpenAPIResponse) and answer.content is not None:
            answer.content["text/csv"] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


def created(path: str, resource: T) -> Response[T]:
    """201 with the place where the new resource is."""
    return Response(resource, status_code=201, headers={"Location": path})


def accepted(path: str, operation: T) -> Response[T]:
    """202 with the place where one can see how far it is."""
    return Response(operation, status_code=202, headers={"Location": path})


class Passing:
    """An answer that comes in pieces from a service, and is passed on as they come: an ASGI app.

    `headers` name those of the service's that are passed on, beside `given`.
    """

    def __init__(
        self,
        flow: AbstractAsyncContextManager[Flow],
        *,
        headers: Iterable[str] = ("content-type", "content-length"),
        given: Mapping[str, str] | None = None,
    ) -> None:
        self._flow = flow
        self._names = tuple(headers)
        self._given = dict(given or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what the service refuses with, before anything was sent."""
        async with self._flow as flow:
            passed = {name: flow.headers[name] for name in self._names if name in flow.headers} | self._given
            headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in passed.items()]
            await send({"type": "http.response.start", "status": flow.status, "headers": headers})
            async for piece in flow.pieces():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def document(flow: AbstractAsyncContextManager[Flow]) -> Passing:
    """A document that a service wrote, passed on under the name that it gave it."""
    return Passing(flow, headers=("content-type", "content-length", "content-disposition"))


class _Passed(Response[Any]):
    """For a handler that may answer a Struct instead."""

    def __init__(self, passing: Passing) -> None:
        super().__init__(None)
        self._passing = passing

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> Any:
        return self._passing


async def in_form(
    form: Form, shown: Callable[[], Awaitable[T]], table: Callable[[], AbstractAsyncContextManager[Flow]]
) -> Response[T]:
    """What `shown` gives, or the service's own `table` of it."""
    return cast("Response[T]", _Passed(document(table()))) if form == "csv" else Response(await shown())


async def name_version(response: Any) -> Any:
    """An `after_request` hook: a resource that has a version is answered with its ETag."""
    content: object = getattr(response, "content", None)
    version: object = getattr(content, "version", None) if isinstance(content, msgspec.Struct) else None
    if isinstance(version, int):
        response.set_header("ETag", etag(version))
    return response


class _Illustrated(OpenAPI):
    """Gets its examples when somebody asks for it: to make it takes longer than all else that an app starts with."""

    examples: Sequence[msgspec.Struct] = ()

    def to_schema(self) -> dict[str, Any]:
        illustrate(self, self.examples)
        return super().to_schema()


@dataclass
class Documentation(OpenAPIConfig):
    """`examples` illustrate the schemas of their types, as far as the document has them."""

    examples: Sequence[msgspec.Struct] = ()

    def to_openapi_schema(self) -> OpenAPI:
        document = _Illustrated(**vars(super().to_openapi_schema()))
        document.examples = self.examples
        return document


def documentation(title: str, version: str, description: str, tags: dict[str, str]) -> Documentation:
    """JSON at `/schema/openapi.json`, pages at `/schema`. Operations are called after their handlers, in camelCase."""
    return Documentation(
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
