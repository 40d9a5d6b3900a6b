#![allow(missing_docs)]
use std::sync::Arc;
pub type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;
pub struct Secret {
    pub text: String,
    pub hash: [u8; 32],
}
impl Secret {
    pub fn new_token(_: &Entropy) -> Self {
        Self { text: "tdm_x".into(), hash: [0; 32] }
    }
}
pub fn hash_password(_: &str, _: &Entropy) -> String {
    String::new()
}
pub fn new_password(_: &Entropy) -> String {
    "x".repeat(20)
}
pub struct PortalSettings {
    pub address: std::net::SocketAddr,
    pub public_url: Option<String>,
    pub proxies: Vec<ipnet::IpNet>,
}
pub struct AppState;
impl AppState {
    pub fn new(
        _: PortalSettings,
        _: tandem_store::PgPool,
        _: tandem_routing::SharedTable,
        _: Arc<dyn tandem_model::Clock>,
        _: Entropy,
        _: &prometheus::Registry,
    ) -> Arc<Self> {
        Arc::new(Self)
    }
}
pub async fn serve(
    _: tokio::net::TcpListener,
    _: Arc<AppState>,
    f: impl Future<Output = ()>,
) -> std::io::Result<()> {
    f.await;
    Ok(())
}
