"""What every actor of one cluster has to know, as one value that travels to each of them."""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACE = "orderplan"
DIRECTOR = "director"
ADAPTERS = "adapters"
PEOPLE = "people"
GATEWAY = "gateway"
PREDICTOR = "predictor"
NOTIFIER = "notifier"


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Databases, addresses and sizes.

    `dsn` is the order database, `key_dsn` the key store; its keys are wrapped by `key_provider`, if one is named
    (`persistence.key_wrapping`). `public_url` is where fulfilment systems reach the gateway for callbacks. `faults_dir`
    is for fault tests only: a host stops itself at a named point when a file there says so.
    `delay_model` is the address of a delay model of one's own (`module:Class`), which has `delay_timeout_s` a batch.
    A listener of the hub that fails for `hub_failing_s` is suspended; at most `hub_backlog_max` events wait for one.
    """

    dsn: str
    key_dsn: str
    key_provider: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    plan_hosts: int = 1
    tenant: str = "main"
    body_bytes_max: int = 8 * 1024 * 1024
    faults_dir: str = ""
    log_level: str = "info"
    delay_model: str = ""
    delay_timeout_s: float = 5.0
    delay_actionable: str = "priority,expedite"
    hub_failing_s: float = 86_400.0
    hub_backlog_max: int = 100_000

    @property
    def callback_base(self) -> str:
        """The URL that callback tokens are appended to."""
        return (self.public_url or f"http://{self.host}:{self.port}") + "/v1/callbacks/"
