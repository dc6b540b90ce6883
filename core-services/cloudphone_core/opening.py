"""What a service's processes stand on, as the settings name it."""

from cloudphone_shared.auth import JWKS_PATH, ServiceIdentity, TokenVerifier
from cloudphone_shared.clients import CoreClients
from cloudphone_shared.database import SCHEMAS, Database
from cloudphone_shared.settings import Auth, Databases, Network, load


def open_database(service: str) -> Database:
    databases = load(Databases)
    return Database(
        databases.url_of(service), schema=SCHEMAS[service], service=service, pool_size=databases.database_pool_size
    )


def open_clients(service: str) -> CoreClients:
    """The other services, asked with the service's own token."""
    network = load(Network)
    identity = ServiceIdentity(service, load(Auth).secret_of(service), network.url_of("user"))
    return CoreClients(network.url_of, identity)


def open_verifier() -> TokenVerifier:
    return TokenVerifier(load(Network).url_of("user") + JWKS_PATH)
