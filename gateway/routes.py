"""The list of routes: path, handler, who may use it. The OpenAPI document is made from this list, so it cannot
drift.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway import (
    accounts,
    archive,
    campaigns,
    changes,
    cluster,
    console_pages,
    delay_models,
    design,
    designs,
    erasures,
    explain,
    fallout,
    hub,
    ingest,
    inventory_lines,
    keys,
    numbers,
    operations,
    order_search,
    orders,
    people,
    queues,
    releases,
    risk,
    saved_views,
    simulation,
    status_page,
    stream,
    systems,
    values,
)
from gateway.context import Role
from gateway.line_service import NDJSON

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TMF622: Final = "/tmf-api/productOrderingManagement/v4"
TMF637: Final = "/tmf-api/productInventory/v4"


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `path` is aiohttp's; `success` the status of a good answer; `body` says whether a JSON body is
    read.
    """

    method: str
    path: str
    handler: Handler
    role: Role
    success: int = 200
    body: bool = False
    body_type: str = "application/json"

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring, without the path."""
        doc = (self.handler.__doc__ or "").strip().splitlines()
        return doc[0].partition(": ")[2] or doc[0] if doc else ""


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", f"{TMF622}/productOrder", orders.create_product_order, Role.CHANNEL, 201, body=True),
    Route("GET", f"{TMF622}/productOrder", orders.list_product_orders, Role.CHANNEL),
    Route("GET", f"{TMF622}/productOrder/{{order_id}}", orders.get_product_order, Role.CHANNEL),
    Route("PATCH", f"{TMF622}/productOrder/{{order_id}}", changes.patch_product_order, Role.CHANNEL, body=True),
    Route("POST", f"{TMF622}/cancelProductOrder", changes.cancel_product_order, Role.CHANNEL, 201, body=True),
    Route("GET", f"{TMF622}/cancelProductOrder", changes.list_cancellations, Role.CHANNEL),
    Route("GET", f"{TMF622}/cancelProductOrder/{{task_id}}", changes.get_cancellation, Role.CHANNEL),
    Route("POST", f"{TMF622}/hub", hub.register_listener, Role.CHANNEL, 201, body=True),
    Route("GET", f"{TMF622}/hub", hub.list_registrations, Role.CHANNEL),
    Route("GET", f"{TMF622}/hub/{{listener_id}}", hub.get_registration, Role.CHANNEL),
    Route("DELETE", f"{TMF622}/hub/{{listener_id}}", hub.unregister_listener, Role.CHANNEL, 204),
    Route("GET", f"{TMF637}/product", design.list_products, Role.CHANNEL),
    Route("GET", f"{TMF637}/product/{{asset_id}}", design.get_product, Role.CHANNEL),
    Route("POST", "/v1/orders:ingest", ingest.ingest_orders, Role.CHANNEL, body=True, body_type=NDJSON),
    Route("POST", "/v1/orders:cutover", ingest.cut_over_orders, Role.ADMIN, body=True, body_type=NDJSON),
    Route(
        "POST",
        "/v1/orders/{order_id}:{action:hold|resume|freeze|thaw|prioritize|amend|cancel|move}",
        changes.act_on_order,
        Role.AGENT,
        body=True,
    ),
    Route(
        "POST", "/v1/orders/{order_id}:force{action:Amend|Cancel|Move}", changes.force_order, Role.MANAGER, body=True
    ),
    Route("GET", "/v1/orders", order_search.list_orders, Role.AGENT),
    Route(
        "POST",
        "/v1/orders:{action:cancel|hold|resume|prioritize}",
        order_search.start_order_job,
        Role.OPERATOR,
        202,
        body=True,
    ),
    Route("GET", "/v1/order-views", saved_views.list_order_views, Role.AGENT),
    Route("PUT", "/v1/order-views/{name}", saved_views.put_order_view, Role.AGENT, body=True),
    Route("DELETE", "/v1/order-views/{view_id}", saved_views.delete_order_view, Role.AGENT, 204),
    Route("PATCH", "/v1/orders/{order_id}", changes.patch_order, Role.AGENT, body=True),
    Route("GET", "/v1/orders/{order_id}", orders.get_order, Role.AGENT),
    Route("GET", "/v1/orders/{order_id}/plan", orders.get_plan, Role.AGENT),
    Route("GET", "/v1/orders/{order_id}/facts", orders.get_facts, Role.AUDITOR),
    Route("GET", "/v1/hub-listeners", hub.list_listeners, Role.OPERATOR),
    Route("POST", "/v1/hub-listeners/{listener_id}:resume", hub.resume_listener, Role.OPERATOR),
    Route("GET", "/v1/stream", stream.get_stream, Role.AUDITOR),
    Route(
        "POST",
        "/v1/orders/{order_id}/items/{item:.+}:{action:retry|skip|complete|edit}",
        orders.operate_item,
        Role.OPERATOR,
        body=True,
    ),
    Route("GET", "/v1/orders/{order_id}/items/{item:.+}", orders.get_item, Role.AGENT),
    Route("GET", "/v1/orders/{order_id}/explain", explain.explain, Role.AGENT),
    Route("GET", "/v1/orders/{order_id}/lines/{line}/provenance", explain.get_provenance, Role.AGENT),
    Route("PATCH", "/v1/orders/{order_id}/lines/{line}", orders.change_line, Role.AGENT, body=True),
    Route("GET", "/v1/fallout", fallout.list_fallout, Role.OPERATOR),
    Route("GET", "/v1/fallout/groups", fallout.list_groups, Role.OPERATOR),
    Route("POST", "/v1/fallout:{action:retry|skip|complete|edit}", fallout.start_job, Role.OPERATOR, 202, body=True),
    Route("POST", "/v1/campaigns", campaigns.create_campaign, Role.OPERATOR, 201, body=True),
    Route(
        "POST",
        "/v1/campaigns/{job_id}/orders",
        campaigns.load_campaign,
        Role.OPERATOR,
        body=True,
        body_type=NDJSON,
    ),
    Route("POST", "/v1/campaigns/{job_id}:start", campaigns.start_campaign, Role.OPERATOR),
    Route("GET", "/v1/jobs", fallout.list_jobs, Role.OPERATOR),
    Route("GET", "/v1/jobs/{job_id}", fallout.get_job, Role.OPERATOR),
    Route("GET", "/v1/jobs/{job_id}/items", fallout.list_job_items, Role.OPERATOR),
    Route("POST", "/v1/jobs/{job_id}:{action:pause|resume|stop}", fallout.steer_job, Role.OPERATOR),
    Route("POST", "/v1/callbacks/{token}", orders.receive_callback, Role.SYSTEM, 204, body=True),
    Route("GET", "/v1/numbers", numbers.get_numbers, Role.MANAGER),
    Route("GET", "/v1/ended-orders", numbers.list_ended_orders, Role.MANAGER),
    Route("GET", "/v1/numbers/{table}", numbers.get_number_table, Role.MANAGER),
    Route("GET", "/v1/risk", risk.list_risks, Role.MANAGER),
    Route("GET", "/v1/orders/{order_id}/risk", risk.get_risk, Role.AGENT),
    Route("GET", "/v1/orders/{order_id}/schedule", risk.get_schedule, Role.AGENT),
    Route("POST", "/v1/orders/{order_id}/risk:whatIf", risk.what_if, Role.AGENT, body=True),
    Route("GET", "/v1/delay-models", delay_models.list_models, Role.MANAGER),
    Route("POST", "/v1/delay-models", delay_models.register_model, Role.DATA_SCIENTIST, 201, body=True),
    Route("POST", "/v1/delay-models:rollback", delay_models.rollback_models, Role.DATA_SCIENTIST, body=True),
    Route("GET", "/v1/delay-models:report", delay_models.report_models, Role.MANAGER),
    Route("GET", "/v1/delay-models:history", delay_models.get_history, Role.DATA_SCIENTIST),
    Route("GET", "/v1/delay-models/{name}", delay_models.get_model, Role.MANAGER),
    Route("GET", "/v1/delay-models/{name}/artefact", delay_models.get_artefact, Role.DATA_SCIENTIST),
    Route(
        "POST",
        "/v1/delay-models/{name}:{action:shadow|rest|promote|retire}",
        delay_models.steer_model,
        Role.DATA_SCIENTIST,
        body=True,
    ),
    Route("GET", "/v1/tasks", people.list_tasks, Role.WORKER),
    Route("GET", "/v1/tasks/{task_id}", people.get_task, Role.WORKER),
    Route("POST", "/v1/tasks/{task_id}:claim", people.claim_task, Role.WORKER, body=True),
    Route("POST", "/v1/tasks/{task_id}:release", people.release_task, Role.WORKER, body=True),
    Route("POST", "/v1/tasks/{task_id}:complete", people.complete_task, Role.WORKER, body=True),
    Route("POST", "/v1/tasks/{task_id}:handOver", people.hand_over_task, Role.WORKER, body=True),
    Route("POST", "/v1/tasks/{task_id}/notes", people.add_note, Role.WORKER, 201, body=True),
    Route("GET", "/v1/tasks/{task_id}/notes", people.list_notes, Role.WORKER),
    Route("POST", "/v1/tasks:next", people.take_next_task, Role.WORKER, body=True),
    Route("POST", "/v1/tasks:{action:claim|release|complete}", people.bulk_tasks, Role.WORKER, body=True),
    Route("POST", "/v1/tasks:assign", people.assign_tasks, Role.MANAGER, body=True),
    Route("GET", "/v1/queue-views", saved_views.list_queue_views, Role.WORKER),
    Route("PUT", "/v1/queue-views/{name}", saved_views.put_queue_view, Role.WORKER, body=True),
    Route("DELETE", "/v1/queue-views/{view_id}", saved_views.delete_queue_view, Role.WORKER, 204),
    Route("GET", "/v1/queues", queues.list_queues, Role.WORKER),
    Route("GET", "/v1/queues/{code}", queues.get_queue, Role.WORKER),
    Route("PUT", "/v1/queues/{code}/members/{worker}", queues.put_member, Role.MANAGER),
    Route("DELETE", "/v1/queues/{code}/members/{worker}", queues.delete_member, Role.MANAGER, 204),
    Route("GET", "/v1/workers", queues.list_workers, Role.MANAGER),
    Route("GET", "/v1/workers/{name}", queues.get_worker, Role.MANAGER),
    Route("PUT", "/v1/workers/{name}", queues.put_worker, Role.MANAGER, body=True),
    Route("GET", "/v1/releases", releases.list_releases, Role.DESIGNER),
    Route("GET", "/v1/releases/{release_id}:diff", releases.diff_two_releases, Role.DESIGNER),
    Route("GET", "/v1/releases/{release_id}", releases.get_release, Role.DESIGNER),
    Route("GET", "/v1/releases/{release_id}/changes", releases.list_release_changes, Role.AUDITOR),
    Route(
        "POST", "/v1/releases/{release_id}:{action:retire|unretire}", releases.steer_release, Role.DESIGNER, body=True
    ),
    Route("POST", "/v1/releases:validate", design.validate_release, Role.DESIGNER, body=True),
    Route("POST", "/v1/releases:read", design.read_release_file, Role.DESIGNER, body=True),
    Route("POST", "/v1/releases:simulate", simulation.simulate_release, Role.DESIGNER, body=True),
    Route("POST", "/v1/releases:publish", design.publish_release, Role.DESIGNER, 201, body=True),
    Route("POST", "/v1/releases:import-tmf620", design.import_tmf620_catalogue, Role.DESIGNER, 201, body=True),
    Route("POST", "/v1/releases:import-dro", design.import_dro_catalogue, Role.DESIGNER, 201, body=True),
    Route("GET", "/v1/diagrams", designs.list_diagrams, Role.DESIGNER),
    Route("GET", "/v1/diagrams/{name}", designs.get_diagram, Role.DESIGNER),
    Route("PUT", "/v1/diagrams/{name}", designs.put_diagram, Role.DESIGNER, body=True),
    Route("DELETE", "/v1/diagrams/{name}", designs.delete_diagram, Role.DESIGNER, 204),
    Route("GET", "/v1/drafts", designs.list_drafts, Role.DESIGNER),
    Route("GET", "/v1/drafts/{name}", designs.get_draft, Role.DESIGNER),
    Route("PUT", "/v1/drafts/{name}", designs.put_draft, Role.DESIGNER, body=True),
    Route("DELETE", "/v1/drafts/{name}", designs.delete_draft, Role.DESIGNER, 204),
    Route("GET", "/v1/systems", systems.list_systems, Role.OPERATOR),
    Route("GET", "/v1/systems:calls", systems.list_calls, Role.OPERATOR),
    Route("POST", "/v1/systems:{action:hold|release}", systems.steer_everything, Role.ADMIN, body=True),
    Route("PUT", "/v1/systems/{code}", systems.put_system, Role.ADMIN, body=True),
    Route("POST", "/v1/systems/{code}:{action:hold|release}", systems.steer_system, Role.ADMIN, body=True),
    Route("GET", "/v1/systems/{code}/changes", systems.list_changes, Role.AUDITOR),
    Route(
        "POST",
        "/v1/products/{asset_id}/attributes/{name}:reveal",
        values.reveal_value,
        Role.PRIVACY,
        body=True,
    ),
    Route("GET", "/v1/value-access", values.list_value_access, Role.AUDITOR),
    Route("GET", "/v1/keys", keys.list_keys, Role.ADMIN),
    Route("POST", "/v1/keys:rotate", keys.rotate_key, Role.ADMIN, body=True),
    Route("POST", "/v1/accounts/{account}:erase", erasures.erase_account, Role.PRIVACY, body=True),
    Route("GET", "/v1/erasures", erasures.list_erasures, Role.AUDITOR),
    Route("GET", "/v1/erasures/{erasure_id}", erasures.get_erasure, Role.AUDITOR),
    Route("GET", "/v1/accounts/{account}", accounts.get_account, Role.AGENT),
    Route("GET", "/v1/accounts/{account}/timeline", accounts.get_timeline, Role.AGENT),
    Route("POST", "/v1/inventory:import", design.import_inventory, Role.ADMIN, 201, body=True),
    Route(
        "POST",
        "/v1/inventory:ingest",
        inventory_lines.ingest_inventory,
        Role.ADMIN,
        body=True,
        body_type=NDJSON,
    ),
    Route(
        "POST",
        "/v1/inventory:reconcile",
        inventory_lines.reconcile_inventory,
        Role.AUDITOR,
        body=True,
        body_type=NDJSON,
    ),
    Route("GET", "/v1/archive", archive.get_archive, Role.ADMIN),
    Route("POST", "/v1/archive", archive.archive_orders, Role.ADMIN, body=True),
    Route("GET", "/v1/cluster", operations.get_cluster, Role.ADMIN),
    Route("POST", "/v1/cluster/hosts:restart", cluster.restart_hosts, Role.ADMIN, 202),
    Route("POST", "/v1/cluster/hosts/{host}:restart", cluster.restart_host, Role.ADMIN, 202),
    Route("GET", "/healthz", operations.get_health, Role.ANYONE),
    Route("GET", "/readyz", operations.get_readiness, Role.ANYONE),
    Route("GET", "/metrics", operations.get_metrics, Role.ANYONE),
    Route("GET", "/openapi.json", operations.get_openapi, Role.ANYONE),
    Route("GET", "/", console_pages.get_console, Role.ANYONE),
    Route("GET", "/console/assets/{name}", console_pages.get_console_file, Role.ANYONE),
    Route("GET", "/console/{tail:.*}", console_pages.get_console_page, Role.ANYONE),
    Route("GET", "/status", status_page.get_status_page, Role.ANYONE),
    Route("GET", "/page/{name}", status_page.get_status_page_file, Role.ANYONE),
)
