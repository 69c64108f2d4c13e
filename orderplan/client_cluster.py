"""The client's calls of the cluster: counters, its processes, and what it keeps where."""

from __future__ import annotations

from collections.abc import Sequence

from orderplan.client_calls import Calls, Document, WaitedTooLong, part


class ClusterCalls(Calls):
    """The processes of the cluster, and its archive."""

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

    def archive(self) -> Document:
        """What is in the archive, by month (estimates), and how many finished orders are not."""
        answer: Document = self.request("GET", "/v1/archive")
        return answer

    def archive_orders(self, older_than_days: float, *, orders: int | None = None) -> Document:
        """Move the facts of some orders that ended so long ago to the archive: how many, and whether there are more.

        Repeating it is harmless: what was moved stays moved, and the next batch follows.
        """
        body: Document = {"olderThanDays": older_than_days}
        if orders is not None:
            body["orders"] = orders
        answer: Document = self.request("POST", "/v1/archive", body, is_repeatable=True)
        return answer
