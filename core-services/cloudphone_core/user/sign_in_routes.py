"""Signing in and out, tokens of services, and the keys to verify tokens by. Limits on sign-ins are the BFFs' part."""

from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from cloudphone_shared.auth import JWKS_PATH, SERVICE_TOKEN_PATH, Caller
from cloudphone_shared.contracts.common import Answer
from cloudphone_shared.contracts.user import (
    Credentials,
    PasswordChange,
    RefreshRequest,
    Registration,
    ServiceCredentials,
    ServiceToken,
    Tokens,
    User,
)
from cloudphone_shared.database import Database
from cloudphone_shared.http.app import PUBLIC

from . import queries, service
from .passwords import Passwords
from .routes import own_id
from .sign_in import SignIn
from .tokens import Issuer, KeyRing

_NEVER_STORED = {"Cache-Control": "no-store"}


@get(JWKS_PATH, opt=PUBLIC)
async def get_keys(ring: NamedDependency[KeyRing]) -> Response[bytes]:
    headers = {"Cache-Control": "public, max-age=60"}
    return Response(await ring.jwks(), media_type="application/jwk-set+json", headers=headers)


@post(SERVICE_TOKEN_PATH, opt=PUBLIC, status_code=200)
async def get_service_token(
    data: JSONBody[ServiceCredentials], issuer: NamedDependency[Issuer]
) -> Response[ServiceToken]:
    return Response(await issuer.service_token(data), headers=_NEVER_STORED)


@post("/v1/auth/login", opt=PUBLIC, status_code=200)
async def login(data: JSONBody[Credentials], sign_in: NamedDependency[SignIn]) -> Response[Answer[Tokens]]:
    return _tokens(await sign_in.login(data))


@post("/v1/auth/refresh", opt=PUBLIC, status_code=200)
async def refresh(data: JSONBody[RefreshRequest], sign_in: NamedDependency[SignIn]) -> Response[Answer[Tokens]]:
    return _tokens(await sign_in.refresh(data.refresh_token))


@post("/v1/auth/logout", status_code=200)
async def logout(caller: NamedDependency[Caller], sign_in: NamedDependency[SignIn]) -> Answer[None]:
    return Answer(data=None, entities=await sign_in.logout(own_id(caller)))


@post("/v1/users/me/password", status_code=200)
async def change_password(
    data: JSONBody[PasswordChange], caller: NamedDependency[Caller], sign_in: NamedDependency[SignIn]
) -> Answer[None]:
    return Answer(data=None, entities=await sign_in.change_password(own_id(caller), data))


@post("/v1/auth/register", opt=PUBLIC)
async def register(
    data: JSONBody[Registration],
    database: NamedDependency[Database],
    passwords: NamedDependency[Passwords],
    sign_in: NamedDependency[SignIn],
) -> Response[Any]:
    hashed = await passwords.hash(data.password)
    async with database.writing() as session:
        user, touched = await service.register_customer(session, data, hashed, sign_in.now())
        answer: Answer[User] = await queries.user_answer(session, user, touched)
    return Response(answer, headers={"Location": f"/v1/users/{user.id}"})


def _tokens(tokens: Tokens) -> Response[Answer[Tokens]]:
    return Response(Answer(data=tokens, entities={}), headers=_NEVER_STORED)


SIGN_IN_ROUTES = [get_keys, get_service_token, login, refresh, logout, change_password, register]
