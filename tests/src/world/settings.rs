//! The configuration files of a house, as an operator would write them.
//!
//! Relative paths in them begin at the house's folder. Next: [`super::house`].

use super::doors::{AdapterDoors, BrokerDoors};
use super::engine::Engine;
use super::house::Plan;

/// What a broker among several is told about itself.
pub(super) struct Among {
    /// Its name.
    pub(super) name: String,
    /// Its folder for spilled answers.
    pub(super) spill: String,
}

/// `token-broker.toml`, for a broker that finds the database's URL in the file `url`.
pub(super) fn broker(plan: &Plan, doors: &BrokerDoors, url: &str, among: Option<&Among>) -> String {
    let store = match plan.engine {
        Engine::Sqlite => "sqlite = \"broker.db\"".to_owned(),
        Engine::Postgres => format!("postgres = {{ file = \"{url}\" }}"),
    };
    // With a name of its own a broker knows at once that what its last run left open is its own.
    let name = match (among, plan.engine) {
        _ if plan.nameless => String::new(),
        (Some(among), _) => format!("replica = \"{}\"\n", among.name),
        (None, Engine::Postgres) => "replica = \"only\"\n".to_owned(),
        (None, Engine::Sqlite) => String::new(),
    };
    let spill = among.map(|it| format!("spill = \"{}\"\n", it.spill)).unwrap_or_default();
    let rates = |rate: f64| {
        let endpoint = rate.max(400.0);
        format!("rate_per_app = {rate:.1}\nrate_per_endpoint = {endpoint:.1}\n")
    };
    let rate = plan.rate_per_app.map(rates);
    let rate = rate.unwrap_or_default();
    let BrokerDoors { grpc, admin, http, ops } = doors;
    let (public_url, ca, log) = (doors.public_url(), upstream_ca(plan), &plan.log);
    let confirm = plan.confirm_after_s;
    let audit = &plan.audit;
    let mode = if plan.relaxed { "relaxed" } else { "strict" };
    format!(
        "drain_seconds = 5\n\
         {name}\
         [store]\n{store}\n\
         [keys]\nkek = {{ file = \"kek\" }}\nnext_kek = {{ file = \"kek.next\" }}\n\
         [grpc]\naddress = \"{grpc}\"\n\
         [admin]\naddress = \"{admin}\"\n\
         [http]\naddress = \"{http}\"\npublic_url = \"{public_url}\"\n\
         [ops]\naddress = \"{ops}\"\n\
         [providers]\nallow_insecure_loopback = true\nca_file = \"{ca}\"\n\
         [refresh]\nconfirm_after_seconds = {confirm}\n{spill}{rate}\
         [decision]\nmode = \"{mode}\"\n\
         [audit]\n{audit}\n\
         [log]\nfilter = \"{log}\"\n"
    )
}

/// `imap.toml` or `smtp.toml`.
pub(super) fn adapter(
    protocol: &str,
    plan: &Plan,
    grpc: std::net::SocketAddr,
    doors: &AdapterDoors,
) -> String {
    let AdapterDoors { plain, starttls, tls, ops } = doors;
    let (ca, log) = (upstream_ca(plan), &plan.log);
    let orphan = plan.orphan_ttl_s.map(|seconds| format!("orphan_ttl_seconds = {seconds}\n"));
    let orphan = orphan.unwrap_or_default();
    format!(
        "server_name = \"localhost\"\n\
         [[listener]]\naddress = \"{plain}\"\ntls = \"plain\"\n\
         [[listener]]\naddress = \"{starttls}\"\ntls = \"starttls\"\n\
         [[listener]]\naddress = \"{tls}\"\ntls = \"implicit\"\n\
         [tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
         [broker]\nendpoints = [\"http://{grpc}\"]\nkey_file = \"{protocol}.key\"\n\
         [upstream]\nca_file = \"{ca}\"\n\
         [ops]\naddress = \"{ops}\"\n\
         [limits]\ndrain_seconds = 2\nunauthenticated_per_ip = 200\n{orphan}\
         [log]\nlevel = \"{log}\"\n"
    )
}

fn upstream_ca(plan: &Plan) -> String {
    let given = plan.upstream_ca.as_ref().map(|path| path.display().to_string());
    given.unwrap_or_else(|| "ca.pem".to_owned())
}
