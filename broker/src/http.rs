//! stub
use crate::{config::HttpSettings, service::Service, tasks::Tasks};
#[derive(Debug)]
pub struct Door {
    pub service: Service,
    pub settings: HttpSettings,
    pub entropy: crate::entropy::Entropy,
}
pub async fn serve(l: tokio::net::TcpListener, d: Door, t: &Tasks) {
    let _ = (l, d);
    t.stopping().await;
}
pub mod ops {
    pub async fn serve_ops(
        l: tokio::net::TcpListener,
        h: metrics_exporter_prometheus::PrometheusHandle,
        s: crate::service::Service,
        t: &crate::tasks::Tasks,
    ) {
        let _ = (l, h, s);
        t.stopping().await;
    }
}
