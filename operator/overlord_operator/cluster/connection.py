"""How the API server is reached: in a pod by its service account, elsewhere by a kubeconfig."""

import os
from typing import Any

import urllib3
from kubernetes import client, config  # pyright: ignore[reportMissingTypeStubs]

from druid_core.errors import InvalidInput


class Connection:
    """
    A pool of connections and the present credentials. Calls block: they belong in threads.

    The pool is as large as the number of calls in flight: a smaller one costs a TLS handshake a call.
    """

    def __init__(self, connections: int) -> None:
        """Raises InvalidInput where there is neither a service account nor a kubeconfig."""
        self._configuration = _load()
        self._configuration.connection_pool_maxsize = connections
        self._configuration.retries = False
        self._pool: urllib3.PoolManager = client.ApiClient(self._configuration).rest_client.pool_manager
        self.url: str = self._configuration.host

    def request(self, method: str, path: str, body: bytes | None, content_type: str, timeout: urllib3.Timeout) -> Any:
        """One call; the response read whole. Raises urllib3's HTTPError where none came."""
        return self._pool.request(
            method,
            self.url + path,
            body=body,
            headers=self._headers(content_type),
            timeout=timeout,
            retries=False,
            redirect=False,
        )

    def stream(self, path: str, timeout: urllib3.Timeout) -> Any:
        """One GET; the response not read yet: it must be released."""
        return self._pool.request(
            "GET",
            self.url + path,
            headers=self._headers(None),
            timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
        )

    def close(self) -> None:
        self._pool.clear()

    def _headers(self, content_type: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "nemeton-operator"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        # asked for each call: a service account's token is renewed about every hour
        for setting in self._configuration.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        return headers


def _load() -> Any:
    configuration = client.Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            # by its name: the library remembers the variable as it was when it was imported
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    except config.ConfigException as error:
        raise InvalidInput(
            f"No way to the API server: {error}. In a pod the service account's token must be mounted; elsewhere "
            "KUBECONFIG names a kubeconfig file."
        ) from error
    return configuration
