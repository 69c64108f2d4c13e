"""Bringing a cluster up and down: PostgreSQL, Ray, the actors. Used by `up`, `demo`, `bench` and the tests alike.

The process that brings a local cluster up owns it: it supervises the embedded PostgreSQL and ends everything it
started. On a Ray cluster that exists already (`address`) the actors are detached and live on; this process only
starts them.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import random
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from actors.config import ADAPTERS, DIRECTOR, GATEWAY, NOTIFIER, PEOPLE, PREDICTOR, ClusterConfig
from delay.loading import check_address
from delay.what_if import Actionable
from domain.errors import BadDocument, OrderplanError
from persistence.database import DEDICATED_DEFAULT, check_durability, migrate
from persistence.embedded import EmbeddedPostgres
from persistence.holds import pause_everything
from persistence.key_wrapping import check_keys

log = structlog.get_logger(__name__)

READY_TIMEOUT_S: Final = 120.0
DRAIN_TIMEOUT_S: Final = 30.0
SUPERVISE_S: Final = 0.5
OBJECT_STORE_BYTES: Final = 200 * 1024 * 1024
FREE_PORTS: Final = (20_000, 32_768)
"""From where a port is drawn that nobody named. Linux gives outgoing connections those from 32,768 on."""
FREE_TRIES_MAX: Final = 100


class ClusterError(OrderplanError):
    """The cluster could not be brought up."""

    code = "cluster"


@dataclass(frozen=True, slots=True)
class Options:
    """What `up` is asked for. `database_url` None means the embedded server in `data`."""

    data: Path
    port: int = 8080
    plan_hosts: int = 1
    dedicated_plans: int = DEDICATED_DEFAULT
    database_url: str | None = None
    key_database_url: str | None = None
    key_provider: str = ""
    address: str | None = None
    public_url: str = ""
    tenant: str = "main"
    faults_dir: str = ""
    delay_model: str = ""
    delay_actionable: str = "priority,expedite"
    delay_scoring: bool = True
    """Whether orders are scored at all; a predictor that runs already, in a cluster that is joined, is left alone."""
    hub_suspend_after_h: float = 24.0
    accept_data_loss: bool = False
    require_synchronous_standby: bool = False
    log_to_driver: bool = False
    is_paused: bool = False
    """No call leaves until the systems are released, also after another start."""


class Cluster:
    """A running cluster. `start` returns when it is ready; `stop` drains and ends what this process started."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._postgres: EmbeddedPostgres | None = None
        self._supervisor: threading.Thread | None = None
        self._is_stopping = threading.Event()
        self.config: ClusterConfig | None = None
        self.logs: Path | None = None
        """The folder of this machine's actors' logs, once started."""

    @property
    def url(self) -> str:
        """Where the gateway serves."""
        assert self.config is not None, "start it first"
        return f"http://{self.config.host}:{self.config.port}"

    @property
    def postgres(self) -> EmbeddedPostgres | None:
        """The embedded server, if this cluster has one."""
        return self._postgres

    def start(self) -> str:
        """Start everything; returns the gateway's URL.

        Raises:
            ClusterError: something did not come up; what had started is ended again.
        """
        # Before Ray's own exit handler ends the actors without a word.
        atexit.register(self.stop)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self.url

    def _start(self) -> None:
        options = self._options
        if options.delay_model:
            check_address(options.delay_model)
        try:
            Actionable.read(options.delay_actionable)
        except BadDocument as error:
            raise ClusterError(error.reason, mend=error.mend) from error
        if options.port and options.address is None:
            check_port(options.port)
        try:
            options.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ClusterError(
                f"the data directory {options.data} cannot be made: {error.strerror}", mend="choose another with --data"
            ) from error
        dsn, key_dsn = self._databases()
        self._check_durability(dsn, key_dsn)
        asyncio.run(migrate(dsn, key_dsn, dedicated=options.dedicated_plans))
        asyncio.run(check_keys(key_dsn, options.key_provider))
        if options.is_paused:
            asyncio.run(pause_everything(dsn, options.tenant, datetime.now(UTC)))
        config = ClusterConfig(
            dsn=dsn,
            key_dsn=key_dsn,
            key_provider=options.key_provider,
            port=options.port or free_port(),
            public_url=options.public_url,
            plan_hosts=options.plan_hosts,
            tenant=options.tenant,
            faults_dir=options.faults_dir,
            delay_model=options.delay_model,
            delay_actionable=options.delay_actionable,
            hub_failing_s=options.hub_suspend_after_h * 3600.0,
        )
        self.config = config
        self._start_ray()
        self._start_actors(config)
        if self._postgres is not None:
            self._supervisor = threading.Thread(target=self._supervise, name="postgres supervisor", daemon=True)
            self._supervisor.start()

    def _databases(self) -> tuple[str, str]:
        options = self._options
        if options.database_url is not None:
            if options.key_database_url is None:
                log.warning(
                    "keys of sealed values stand in the order database and in its backups: destroying a key does not "
                    "reach those; give the key store a database of its own with --key-database-url"
                )
            return options.database_url, options.key_database_url or options.database_url
        self._postgres = EmbeddedPostgres(options.data / "postgres")
        self._postgres.start()
        return self._postgres.dsn("orderplan"), self._postgres.dsn("orderplan_keys")

    def _check_durability(self, dsn: str, key_dsn: str) -> None:
        """Refuse servers that would lose what is acknowledged; say what is weak where that is let pass."""
        options = self._options
        weak = asyncio.run(
            check_durability(
                dsn,
                key_dsn,
                accepts_loss=options.accept_data_loss,
                needs_standby=options.require_synchronous_standby,
            )
        )
        for database, found in weak.items():
            for each in found:
                log.warning(each.reason, database=database, setting=each.setting, mend=each.mend)

    def _start_ray(self) -> None:
        """Join or start Ray. The token and its mode must stand in the environment before Ray is imported."""
        token = self._options.data / "ray-token"
        if self._options.address is None:
            if not token.exists():
                token.touch(mode=0o600)
                token.write_text(secrets.token_hex(32))
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Ray takes actors for batch jobs and has everything else on the machine go first; these answer people.
        os.environ.setdefault("RAY_worker_niceness", "0")
        import ray  # only now: it reads the environment when it is imported

        common: dict[str, Any] = {
            "namespace": "orderplan",
            "configure_logging": True,
            "logging_level": logging.WARNING,
            "log_to_driver": self._options.log_to_driver,
        }
        joined: Any  # what init gives of a cluster that is reached directly has more than its type says
        try:
            if self._options.address is not None:
                joined = ray.init(address=self._options.address, **common)
            else:
                # Without an address Ray would join whatever cluster was last started on this machine.
                joined = ray.init(
                    address="local",
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    num_cpus=os.cpu_count(),
                    **common,
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ClusterError(
                f"Ray cannot be reached or started: {error}", mend="check --address and its token"
            ) from error
        self.logs = Path(joined.address_info["session_dir"]) / "logs"

    def _start_actors(self, config: ClusterConfig) -> None:
        import ray  # see _start_ray

        from actors.adapter import AdapterActor
        from actors.delay_predictor import DelayPredictorActor
        from actors.director import Director
        from actors.manual_queue import ManualQueueActor
        from actors.remote import handle_of, start_actor
        from gateway.actor import Gateway
        from gateway.notifier_actor import NotifierActor

        for name, cls in ((ADAPTERS, AdapterActor), (PEOPLE, ManualQueueActor), (DIRECTOR, Director)):
            if handle_of(name) is None:
                start_actor(cls, name, config, restarts=-1)
        director = handle_of(DIRECTOR)
        assert director is not None
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not ray.get(director.ready.remote(), timeout=READY_TIMEOUT_S):
            if time.monotonic() > deadline:
                raise ClusterError("the plan hosts did not come up in time")
            time.sleep(0.1)
        # Nothing waits for these two, their start neither.
        if handle_of(PREDICTOR) is None and self._options.delay_scoring:
            start_actor(DelayPredictorActor, PREDICTOR, config, restarts=-1)
        if handle_of(NOTIFIER) is None:
            start_actor(NotifierActor, NOTIFIER, config, restarts=-1)
        gateway = handle_of(GATEWAY)
        if gateway is None:
            gateway = start_actor(Gateway, GATEWAY, config, restarts=-1)
        ray.get(gateway.start.remote(), timeout=READY_TIMEOUT_S)

    def _supervise(self) -> None:
        """Start the embedded server again when it has died, until the cluster stops."""
        assert self._postgres is not None
        while not self._is_stopping.wait(SUPERVISE_S):
            try:
                if self._postgres.ensure():
                    log.warning("the embedded PostgreSQL had died and was started again")
            except OrderplanError as error:
                log.error("the embedded PostgreSQL is down", error=str(error))

    def drain(self) -> bool:
        """Take in nothing new and let hosts finish what they have; False when something was not finished in time."""
        from ray.exceptions import RayError  # see _start_ray

        from actors.remote import handle_of

        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        is_finished = True
        # The gateway refuses until the hosts are done, and only then goes: whoever asks hears when to come again.
        for name, method in ((GATEWAY, "drain"), (DIRECTOR, "drain"), (GATEWAY, "stop")):
            handle = handle_of(name)
            if handle is None:
                continue
            # Not `ray.get`: what a signal's handler raises inside of it (`orderplan up` ends at once on the second one)
            # comes out only when the answer is there, as another error.
            answer = getattr(handle, method).remote().future()
            try:
                answer.result(max(1.0, deadline - time.monotonic()))
            except (RayError, TimeoutError) as error:
                is_finished = False
                log.warning("an actor did not drain", actor=name, error=str(error))
        return is_finished

    def stop(self, *, is_hard: bool = False) -> bool:
        """End what this process started: the actors (on a local Ray), Ray, the embedded server. Repeating is
        harmless.

        Args:
            is_hard: end it without finishing what is under way, which the next start then does again.
        Returns:
            Whether everything that was under way was finished first.
        """
        self._is_stopping.set()
        atexit.unregister(self.stop)
        if self._supervisor is not None:
            self._supervisor.join()
            self._supervisor = None
        is_finished = not is_hard
        if self._options.address is None and self.config is not None:
            import ray  # see _start_ray

            if ray.is_initialized():
                is_finished = not is_hard and self.drain()
                ray.shutdown()
        if self._postgres is not None:
            self._postgres.stop()
            self._postgres = None
        return is_finished


def check_port(port: int) -> None:
    """Find out before anything is started whether the gateway can have its port.

    Raises:
        ClusterError: somebody else listens there.
    """
    with socket.socket() as probe:
        # As the gateway does: an old connection in its last minute is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ClusterError(
                f"port {port} of 127.0.0.1 cannot be used: {error.strerror}", mend="choose another with --port"
            ) from error


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to outgoing connections: between its choice and
    the gateway's start hundreds of those are made, and one of them would take it.
    """
    for port in random.SystemRandom().sample(range(*FREE_PORTS), FREE_TRIES_MAX):
        with contextlib.suppress(ClusterError):
            check_port(port)
            return port
    raise ClusterError("no free port was found for the gateway", mend="name one with --port")
