//! Kamailio as a member's proxy: what comes over TLS goes on to a gateway behind it, and what comes from behind goes
//! to the hub over TLS.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::Kamailio;
use crate::pki::{Authority, Certificate};

/// A proxy that is running.
#[derive(Debug)]
pub struct Proxy(Kamailio);

/// Where a proxy stands.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Where it takes UDP from behind; calls from here go to `hub`.
    pub inside: SocketAddr,
    /// Where it takes TLS.
    pub outside: SocketAddr,
    /// Where its calls go, over TLS.
    pub hub: SocketAddr,
    /// Where calls that come over TLS go, by UDP.
    pub gateway: SocketAddr,
}

impl Proxy {
    /// A proxy with a certificate. One that is `mutual` shows it to the hub and wants the hub's; otherwise it is a
    /// server of TLS alone.
    pub fn start(places: &[Places], authority: &Authority, own: &Certificate, mutual: bool) -> Self {
        let folder = TempDir::with_prefix("tandem-proxy-").expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        let Certificate { certificate, key, .. } = own;
        let trust = authority.trust();
        let identity = format!("private_key = {}\ncertificate = {}\n", key.display(), certificate.display());
        let wanted = if mutual { "yes" } else { "no" };
        let shown = if mutual { identity.as_str() } else { "" };
        let tls = format!(
            "[server:default]\nmethod = TLSv1.2+\n{identity}ca_list = {trust}\nverify_certificate = {wanted}\n\
             require_certificate = {wanted}\n\n[client:default]\nmethod = TLSv1.2+\n{shown}ca_list = {trust}\n\
             verify_certificate = yes\nrequire_certificate = yes\n",
            trust = trust.display(),
        );
        fs::write(file("tls.cfg"), tls).expect("the folder is ours");
        let mut listen = String::new();
        let mut routes = String::new();
        for Places { inside, outside, hub, gateway } in places {
            listen += &format!("listen=udp:{inside}\nlisten=tls:{outside}\n");
            let (inside_port, outside_port) = (inside.port(), outside.port());
            routes += &format!(
                "if ($Rp == {inside_port}) {{ $du = \"sip:{hub};transport=tls\"; $fs = \"tls:{outside}\"; }}\n\
                 if ($Rp == {outside_port}) {{ $du = \"sip:{gateway}\"; $fs = \"udp:{inside}\"; }}\n",
            );
        }
        let config = format!(
            "debug=1\nlog_stderror=yes\nfork=yes\nchildren=1\ntcp_children=1\ndisable_tcp=no\nenable_tls=yes\n\
             tcp_accept_no_cl=no\nauto_aliases=no\nrun_dir=\"{run}\"\n{listen}\
             loadmodule \"tls.so\"\nloadmodule \"tm.so\"\nloadmodule \"rr.so\"\nloadmodule \"pv.so\"\n\
             loadmodule \"sl.so\"\nloadmodule \"siputils.so\"\nloadmodule \"textops.so\"\nloadmodule \"maxfwd.so\"\n\
             modparam(\"tls\", \"config\", \"{tls}\")\nmodparam(\"rr\", \"enable_double_rr\", 1)\n\
             request_route {{\n\
             if (has_totag()) {{ if (loose_route()) {{ t_relay(); exit; }} if (is_method(\"ACK\")) {{ t_relay(); }} exit; }}\n\
             if (is_method(\"CANCEL\")) {{ if (t_check_trans()) t_relay(); exit; }}\n\
             if (is_method(\"OPTIONS\")) {{ sl_send_reply(\"200\", \"OK\"); exit; }}\n\
             record_route();\n{routes}t_relay();\n}}\n",
            run = folder.path().display(),
            tls = file("tls.cfg").display(),
        );
        let is_listening = || places.iter().all(|place| std::net::TcpStream::connect(place.outside).is_ok());
        Self(Kamailio::within(folder, &config, is_listening))
    }

    /// What it has printed last.
    pub fn last_lines(&self) -> String {
        self.0.last_lines()
    }
}
