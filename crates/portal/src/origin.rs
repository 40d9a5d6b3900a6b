//! Where a request comes from: the address of the client, and whether a browser sent it from our own pages.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use ipnet::IpNet;
use tandem_model::Reason;

use crate::app::PortalSettings;
use crate::problem::ApiError;

/// The address of the client: of the connection or, where that is a proxy of ours, what the proxy says.
pub(crate) fn client_address(parts: &Parts, proxies: &[IpNet]) -> Option<IpAddr> {
    let ConnectInfo(connection) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    let connection = connection.ip().to_canonical();
    let is_proxy = |address: &IpAddr| proxies.iter().any(|net| net.contains(address));
    if !is_proxy(&connection) {
        return Some(connection);
    }
    // Each proxy appends the address that it saw: the last one that is no proxy is the client.
    let lines = parts.headers.get_all("x-forwarded-for").iter().rev();
    let named = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.rsplit(','))
        .map_while(|text| text.trim().parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .find(|address| !is_proxy(address));
    Some(named.unwrap_or(connection))
}

/// Refuses what a browser sends on behalf of another site's page.
pub(crate) fn check_same_origin(headers: &HeaderMap, settings: &PortalSettings) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let foreign = |what: &str| {
        ApiError::new(Reason::Forbidden).detail(format!("The request comes from another site: {what}."))
    };
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return Err(foreign(&format!("Sec-Fetch-Site is {site}")));
    }
    if let Some(origin) = text(header::ORIGIN.as_str()) {
        let own = match &settings.public_url {
            Some(url) => origin.eq_ignore_ascii_case(url.trim_end_matches('/')),
            None => {
                let host = text(header::HOST.as_str()).unwrap_or_default();
                origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
            }
        };
        if !own {
            return Err(foreign("its Origin is not this portal"));
        }
    }
    Ok(())
}
