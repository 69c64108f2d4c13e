"""The client's calls of the cluster: counters, and its processes."""

from __future__ import annotations

from collections.abc import Sequence

from orderplan.client_calls import Calls, Document, WaitedTooLong, part


class ClusterCalls(Calls):
    """The processes of the cluster."""

    def cluster(self) -> Document:
        """Orders per state, and counters of the cluster's actors."""
        answer: Document = self.request("GET", "/v1/cluster")
        return answer

    def restart_hosts(self, host: str | None = None) -> list[str]:
        """Replace a plan host, or all, one after another; returns those that will be, at once."""
        path = "/v1/cluster/hosts:restart" if host is None else f"/v1/cluster/hosts/{part(host)}:restart"
        hosts: list[str] = self.request("POST", path)["hosts"]
        return hosts

    def wait_for_restart(self, hosts: Sequence[str], *, timeout_s: float = 600.0, poll_s: float = 0.3) -> None:
        """Return when none of these plan hosts lives any more, and none is left to be replaced.

        A director that was started again meanwhile knows of none to replace, so the hosts themselves are looked for.

        Raises:
            WaitedTooLong: some are left; ask again for their restart.
        """
        until = self._clock() + timeout_s
        while True:
            actors = self.cluster()["actors"]
            left = [host for host in hosts if f"host-{host}" in actors]
            # A director that does not answer just now says nothing of it either way.
            if not left and actors.get("director", {}).get("restarting") == 0:
                return
            if self._clock() >= until:
                raise WaitedTooLong(", ".join(left) or "hosts", "not replaced", timeout_s, what="restart of")
            self._sleep(poll_s)
