// Made by console/make_api.py from the OpenAPI document; do not edit.

export const OPERATIONS = {
  create_product_order: { method: "POST", path: "/tmf-api/productOrderingManagement/v4/productOrder", role: "channel" },
  list_product_orders: { method: "GET", path: "/tmf-api/productOrderingManagement/v4/productOrder", role: "channel" },
  get_product_order: { method: "GET", path: "/tmf-api/productOrderingManagement/v4/productOrder/{order_id}", role: "channel" },
  patch_product_order: { method: "PATCH", path: "/tmf-api/productOrderingManagement/v4/productOrder/{order_id}", role: "channel" },
  cancel_product_order: { method: "POST", path: "/tmf-api/productOrderingManagement/v4/cancelProductOrder", role: "channel" },
  list_cancellations: { method: "GET", path: "/tmf-api/productOrderingManagement/v4/cancelProductOrder", role: "channel" },
  get_cancellation: { method: "GET", path: "/tmf-api/productOrderingManagement/v4/cancelProductOrder/{task_id}", role: "channel" },
  register_listener: { method: "POST", path: "/tmf-api/productOrderingManagement/v4/hub", role: "channel" },
  list_registrations: { method: "GET", path: "/tmf-api/productOrderingManagement/v4/hub", role: "channel" },
  get_registration: { method: "GET", path: "/tmf-api/productOrderingManagement/v4/hub/{listener_id}", role: "channel" },
  unregister_listener: { method: "DELETE", path: "/tmf-api/productOrderingManagement/v4/hub/{listener_id}", role: "channel" },
  list_products: { method: "GET", path: "/tmf-api/productInventory/v4/product", role: "channel" },
  get_product: { method: "GET", path: "/tmf-api/productInventory/v4/product/{asset_id}", role: "channel" },
  ingest_orders: { method: "POST", path: "/v1/orders:ingest", role: "channel" },
  cut_over_orders: { method: "POST", path: "/v1/orders:cutover", role: "admin" },
  act_on_order: { method: "POST", path: "/v1/orders/{order_id}:{action}", role: "agent" },
  force_order: { method: "POST", path: "/v1/orders/{order_id}:force{action}", role: "manager" },
  list_orders: { method: "GET", path: "/v1/orders", role: "agent" },
  start_order_job: { method: "POST", path: "/v1/orders:{action}", role: "operator" },
  list_order_views: { method: "GET", path: "/v1/order-views", role: "agent" },
  put_order_view: { method: "PUT", path: "/v1/order-views/{name}", role: "agent" },
  delete_order_view: { method: "DELETE", path: "/v1/order-views/{view_id}", role: "agent" },
  patch_order: { method: "PATCH", path: "/v1/orders/{order_id}", role: "agent" },
  get_order: { method: "GET", path: "/v1/orders/{order_id}", role: "agent" },
  get_plan: { method: "GET", path: "/v1/orders/{order_id}/plan", role: "agent" },
  get_facts: { method: "GET", path: "/v1/orders/{order_id}/facts", role: "auditor" },
  list_listeners: { method: "GET", path: "/v1/hub-listeners", role: "operator" },
  resume_listener: { method: "POST", path: "/v1/hub-listeners/{listener_id}:resume", role: "operator" },
  get_stream: { method: "GET", path: "/v1/stream", role: "auditor" },
  operate_item: { method: "POST", path: "/v1/orders/{order_id}/items/{item}:{action}", role: "operator" },
  get_item: { method: "GET", path: "/v1/orders/{order_id}/items/{item}", role: "agent" },
  explain: { method: "GET", path: "/v1/orders/{order_id}/explain", role: "agent" },
  get_provenance: { method: "GET", path: "/v1/orders/{order_id}/lines/{line}/provenance", role: "agent" },
  change_line: { method: "PATCH", path: "/v1/orders/{order_id}/lines/{line}", role: "agent" },
  list_fallout: { method: "GET", path: "/v1/fallout", role: "operator" },
  list_groups: { method: "GET", path: "/v1/fallout/groups", role: "operator" },
  start_job: { method: "POST", path: "/v1/fallout:{action}", role: "operator" },
  create_campaign: { method: "POST", path: "/v1/campaigns", role: "operator" },
  load_campaign: { method: "POST", path: "/v1/campaigns/{job_id}/orders", role: "operator" },
  start_campaign: { method: "POST", path: "/v1/campaigns/{job_id}:start", role: "operator" },
  list_jobs: { method: "GET", path: "/v1/jobs", role: "operator" },
  get_job: { method: "GET", path: "/v1/jobs/{job_id}", role: "operator" },
  list_job_items: { method: "GET", path: "/v1/jobs/{job_id}/items", role: "operator" },
  steer_job: { method: "POST", path: "/v1/jobs/{job_id}:{action}", role: "operator" },
  receive_callback: { method: "POST", path: "/v1/callbacks/{token}", role: "system" },
  get_numbers: { method: "GET", path: "/v1/numbers", role: "manager" },
  list_ended_orders: { method: "GET", path: "/v1/ended-orders", role: "manager" },
  get_number_table: { method: "GET", path: "/v1/numbers/{table}", role: "manager" },
  list_risks: { method: "GET", path: "/v1/risk", role: "manager" },
  get_risk: { method: "GET", path: "/v1/orders/{order_id}/risk", role: "agent" },
  get_schedule: { method: "GET", path: "/v1/orders/{order_id}/schedule", role: "agent" },
  what_if: { method: "POST", path: "/v1/orders/{order_id}/risk:whatIf", role: "agent" },
  list_models: { method: "GET", path: "/v1/delay-models", role: "manager" },
  register_model: { method: "POST", path: "/v1/delay-models", role: "dataScientist" },
  rollback_models: { method: "POST", path: "/v1/delay-models:rollback", role: "dataScientist" },
  report_models: { method: "GET", path: "/v1/delay-models:report", role: "manager" },
  get_history: { method: "GET", path: "/v1/delay-models:history", role: "dataScientist" },
  get_model: { method: "GET", path: "/v1/delay-models/{name}", role: "manager" },
  get_artefact: { method: "GET", path: "/v1/delay-models/{name}/artefact", role: "dataScientist" },
  steer_model: { method: "POST", path: "/v1/delay-models/{name}:{action}", role: "dataScientist" },
  list_tasks: { method: "GET", path: "/v1/tasks", role: "worker" },
  get_task: { method: "GET", path: "/v1/tasks/{task_id}", role: "worker" },
  claim_task: { method: "POST", path: "/v1/tasks/{task_id}:claim", role: "worker" },
  release_task: { method: "POST", path: "/v1/tasks/{task_id}:release", role: "worker" },
  complete_task: { method: "POST", path: "/v1/tasks/{task_id}:complete", role: "worker" },
  hand_over_task: { method: "POST", path: "/v1/tasks/{task_id}:handOver", role: "worker" },
  add_note: { method: "POST", path: "/v1/tasks/{task_id}/notes", role: "worker" },
  list_notes: { method: "GET", path: "/v1/tasks/{task_id}/notes", role: "worker" },
  take_next_task: { method: "POST", path: "/v1/tasks:next", role: "worker" },
  bulk_tasks: { method: "POST", path: "/v1/tasks:{action}", role: "worker" },
  assign_tasks: { method: "POST", path: "/v1/tasks:assign", role: "manager" },
  list_queue_views: { method: "GET", path: "/v1/queue-views", role: "worker" },
  put_queue_view: { method: "PUT", path: "/v1/queue-views/{name}", role: "worker" },
  delete_queue_view: { method: "DELETE", path: "/v1/queue-views/{view_id}", role: "worker" },
  list_queues: { method: "GET", path: "/v1/queues", role: "worker" },
  get_queue: { method: "GET", path: "/v1/queues/{code}", role: "worker" },
  put_member: { method: "PUT", path: "/v1/queues/{code}/members/{worker}", role: "manager" },
  delete_member: { method: "DELETE", path: "/v1/queues/{code}/members/{worker}", role: "manager" },
  list_workers: { method: "GET", path: "/v1/workers", role: "manager" },
  get_worker: { method: "GET", path: "/v1/workers/{name}", role: "manager" },
  put_worker: { method: "PUT", path: "/v1/workers/{name}", role: "manager" },
  list_releases: { method: "GET", path: "/v1/releases", role: "designer" },
  diff_two_releases: { method: "GET", path: "/v1/releases/{release_id}:diff", role: "designer" },
  get_release: { method: "GET", path: "/v1/releases/{release_id}", role: "designer" },
  list_release_changes: { method: "GET", path: "/v1/releases/{release_id}/changes", role: "auditor" },
  steer_release: { method: "POST", path: "/v1/releases/{release_id}:{action}", role: "designer" },
  validate_release: { method: "POST", path: "/v1/releases:validate", role: "designer" },
  read_release_file: { method: "POST", path: "/v1/releases:read", role: "designer" },
  simulate_release: { method: "POST", path: "/v1/releases:simulate", role: "designer" },
  publish_release: { method: "POST", path: "/v1/releases:publish", role: "designer" },
  import_tmf620_catalogue: { method: "POST", path: "/v1/releases:import-tmf620", role: "designer" },
  import_dro_catalogue: { method: "POST", path: "/v1/releases:import-dro", role: "designer" },
  list_diagrams: { method: "GET", path: "/v1/diagrams", role: "designer" },
  get_diagram: { method: "GET", path: "/v1/diagrams/{name}", role: "designer" },
  put_diagram: { method: "PUT", path: "/v1/diagrams/{name}", role: "designer" },
  delete_diagram: { method: "DELETE", path: "/v1/diagrams/{name}", role: "designer" },
  list_drafts: { method: "GET", path: "/v1/drafts", role: "designer" },
  get_draft: { method: "GET", path: "/v1/drafts/{name}", role: "designer" },
  put_draft: { method: "PUT", path: "/v1/drafts/{name}", role: "designer" },
  delete_draft: { method: "DELETE", path: "/v1/drafts/{name}", role: "designer" },
  list_systems: { method: "GET", path: "/v1/systems", role: "operator" },
  list_calls: { method: "GET", path: "/v1/systems:calls", role: "operator" },
  steer_everything: { method: "POST", path: "/v1/systems:{action}", role: "admin" },
  put_system: { method: "PUT", path: "/v1/systems/{code}", role: "admin" },
  steer_system: { method: "POST", path: "/v1/systems/{code}:{action}", role: "admin" },
  list_changes: { method: "GET", path: "/v1/systems/{code}/changes", role: "auditor" },
  reveal_value: { method: "POST", path: "/v1/products/{asset_id}/attributes/{name}:reveal", role: "privacy" },
  list_value_access: { method: "GET", path: "/v1/value-access", role: "auditor" },
  list_keys: { method: "GET", path: "/v1/keys", role: "admin" },
  rotate_key: { method: "POST", path: "/v1/keys:rotate", role: "admin" },
  erase_account: { method: "POST", path: "/v1/accounts/{account}:erase", role: "privacy" },
  list_erasures: { method: "GET", path: "/v1/erasures", role: "auditor" },
  get_erasure: { method: "GET", path: "/v1/erasures/{erasure_id}", role: "auditor" },
  get_account: { method: "GET", path: "/v1/accounts/{account}", role: "agent" },
  get_timeline: { method: "GET", path: "/v1/accounts/{account}/timeline", role: "agent" },
  import_inventory: { method: "POST", path: "/v1/inventory:import", role: "admin" },
  ingest_inventory: { method: "POST", path: "/v1/inventory:ingest", role: "admin" },
  reconcile_inventory: { method: "POST", path: "/v1/inventory:reconcile", role: "auditor" },
  get_archive: { method: "GET", path: "/v1/archive", role: "admin" },
  archive_orders: { method: "POST", path: "/v1/archive", role: "admin" },
  get_cluster: { method: "GET", path: "/v1/cluster", role: "admin" },
  restart_hosts: { method: "POST", path: "/v1/cluster/hosts:restart", role: "admin" },
  restart_host: { method: "POST", path: "/v1/cluster/hosts/{host}:restart", role: "admin" },
  get_health: { method: "GET", path: "/healthz", role: "anyone" },
  get_readiness: { method: "GET", path: "/readyz", role: "anyone" },
  get_metrics: { method: "GET", path: "/metrics", role: "anyone" },
  get_openapi: { method: "GET", path: "/openapi.json", role: "anyone" },
  get_console: { method: "GET", path: "/", role: "anyone" },
  get_console_file: { method: "GET", path: "/console/assets/{name}", role: "anyone" },
  get_console_page: { method: "GET", path: "/console/{tail}", role: "anyone" },
  get_status_page: { method: "GET", path: "/status", role: "anyone" },
  get_status_page_file: { method: "GET", path: "/page/{name}", role: "anyone" },
} as const;

export interface Parameters {
  create_product_order: Record<never, string>;
  list_product_orders: Record<never, string>;
  get_product_order: { order_id: string };
  patch_product_order: { order_id: string };
  cancel_product_order: Record<never, string>;
  list_cancellations: Record<never, string>;
  get_cancellation: { task_id: string };
  register_listener: Record<never, string>;
  list_registrations: Record<never, string>;
  get_registration: { listener_id: string };
  unregister_listener: { listener_id: string };
  list_products: Record<never, string>;
  get_product: { asset_id: string };
  ingest_orders: Record<never, string>;
  cut_over_orders: Record<never, string>;
  act_on_order: { order_id: string; action: "hold" | "resume" | "freeze" | "thaw" | "prioritize" | "amend" | "cancel" | "move" };
  force_order: { order_id: string; action: "Amend" | "Cancel" | "Move" };
  list_orders: Record<never, string>;
  start_order_job: { action: "cancel" | "hold" | "resume" | "prioritize" };
  list_order_views: Record<never, string>;
  put_order_view: { name: string };
  delete_order_view: { view_id: string };
  patch_order: { order_id: string };
  get_order: { order_id: string };
  get_plan: { order_id: string };
  get_facts: { order_id: string };
  list_listeners: Record<never, string>;
  resume_listener: { listener_id: string };
  get_stream: Record<never, string>;
  operate_item: { order_id: string; item: string; action: "retry" | "skip" | "complete" | "edit" };
  get_item: { order_id: string; item: string };
  explain: { order_id: string };
  get_provenance: { order_id: string; line: string };
  change_line: { order_id: string; line: string };
  list_fallout: Record<never, string>;
  list_groups: Record<never, string>;
  start_job: { action: "retry" | "skip" | "complete" | "edit" };
  create_campaign: Record<never, string>;
  load_campaign: { job_id: string };
  start_campaign: { job_id: string };
  list_jobs: Record<never, string>;
  get_job: { job_id: string };
  list_job_items: { job_id: string };
  steer_job: { job_id: string; action: "pause" | "resume" | "stop" };
  receive_callback: { token: string };
  get_numbers: Record<never, string>;
  list_ended_orders: Record<never, string>;
  get_number_table: { table: string };
  list_risks: Record<never, string>;
  get_risk: { order_id: string };
  get_schedule: { order_id: string };
  what_if: { order_id: string };
  list_models: Record<never, string>;
  register_model: Record<never, string>;
  rollback_models: Record<never, string>;
  report_models: Record<never, string>;
  get_history: Record<never, string>;
  get_model: { name: string };
  get_artefact: { name: string };
  steer_model: { name: string; action: "shadow" | "rest" | "promote" | "retire" };
  list_tasks: Record<never, string>;
  get_task: { task_id: string };
  claim_task: { task_id: string };
  release_task: { task_id: string };
  complete_task: { task_id: string };
  hand_over_task: { task_id: string };
  add_note: { task_id: string };
  list_notes: { task_id: string };
  take_next_task: Record<never, string>;
  bulk_tasks: { action: "claim" | "release" | "complete" };
  assign_tasks: Record<never, string>;
  list_queue_views: Record<never, string>;
  put_queue_view: { name: string };
  delete_queue_view: { view_id: string };
  list_queues: Record<never, string>;
  get_queue: { code: string };
  put_member: { code: string; worker: string };
  delete_member: { code: string; worker: string };
  list_workers: Record<never, string>;
  get_worker: { name: string };
  put_worker: { name: string };
  list_releases: Record<never, string>;
  diff_two_releases: { release_id: string };
  get_release: { release_id: string };
  list_release_changes: { release_id: string };
  steer_release: { release_id: string; action: "retire" | "unretire" };
  validate_release: Record<never, string>;
  read_release_file: Record<never, string>;
  simulate_release: Record<never, string>;
  publish_release: Record<never, string>;
  import_tmf620_catalogue: Record<never, string>;
  import_dro_catalogue: Record<never, string>;
  list_diagrams: Record<never, string>;
  get_diagram: { name: string };
  put_diagram: { name: string };
  delete_diagram: { name: string };
  list_drafts: Record<never, string>;
  get_draft: { name: string };
  put_draft: { name: string };
  delete_draft: { name: string };
  list_systems: Record<never, string>;
  list_calls: Record<never, string>;
  steer_everything: { action: "hold" | "release" };
  put_system: { code: string };
  steer_system: { code: string; action: "hold" | "release" };
  list_changes: { code: string };
  reveal_value: { asset_id: string; name: string };
  list_value_access: Record<never, string>;
  list_keys: Record<never, string>;
  rotate_key: Record<never, string>;
  erase_account: { account: string };
  list_erasures: Record<never, string>;
  get_erasure: { erasure_id: string };
  get_account: { account: string };
  get_timeline: { account: string };
  import_inventory: Record<never, string>;
  ingest_inventory: Record<never, string>;
  reconcile_inventory: Record<never, string>;
  get_archive: Record<never, string>;
  archive_orders: Record<never, string>;
  get_cluster: Record<never, string>;
  restart_hosts: Record<never, string>;
  restart_host: { host: string };
  get_health: Record<never, string>;
  get_readiness: Record<never, string>;
  get_metrics: Record<never, string>;
  get_openapi: Record<never, string>;
  get_console: Record<never, string>;
  get_console_file: { name: string };
  get_console_page: { tail: string };
  get_status_page: Record<never, string>;
  get_status_page_file: { name: string };
}

export type Operation = keyof typeof OPERATIONS;
