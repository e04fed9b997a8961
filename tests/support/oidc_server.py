"""Runs Canaille, an identity provider, on a loopback port with one client and its users; with the provider's own
Python, not ours. Its standard input is what it is to know, as JSON."""

import json
import sys

from canaille import create_app  # type: ignore[import-not-found]
from canaille.app import models  # type: ignore[import-not-found]
from canaille.backends import Backend  # type: ignore[import-not-found]
from werkzeug.serving import make_server

asked = json.load(sys.stdin)
address = f"localhost:{asked['port']}"
app = create_app(
    {
        "SECRET_KEY": asked["secret_key"],
        "SERVER_NAME": address,
        "PREFERRED_URL_SCHEME": "http",
        "TRUSTED_HOSTS": None,
        "CANAILLE": {"DATABASE": "memory", "ENABLE_PASSWORD_COMPROMISSION_CHECK": False},
        "CANAILLE_OIDC": {"TRUSTED_DOMAINS": ["client.localhost"]},
    }
)
with app.app_context():
    backend = Backend.instance
    client = models.Client(
        client_id=asked["client_id"],
        client_name="Callplane",
        client_secret=asked["client_secret"],
        client_uri="http://client.localhost",
        redirect_uris=[asked["redirect_uri"]],
        grant_types=["authorization_code"],
        response_types=["code"],
        scope=["openid", "profile", "email", "groups"],
        token_endpoint_auth_method="client_secret_basic",
        id_token_signed_response_alg="RS256",
    )
    backend.save(client)
    client.audience = [client]
    backend.save(client)
    for name, groups in asked["users"].items():
        user = models.User(
            user_name=name,
            given_name=name.title(),
            family_name="Example",
            formatted_name=f"{name.title()} Example",
            emails=[f"{name}@example.org"],
            password=asked["password"],
        )
        backend.save(user)
        for group in groups:
            backend.save(models.Group(display_name=group, members=[user]))
server = make_server("127.0.0.1", asked["port"], app, threaded=True)
print("ready", flush=True)
server.serve_forever()
