//! linphone as a phone: of two digests in a challenge it answers the stronger one (RFC 8760).

use std::fs;
use std::io::{PipeWriter, Write};
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::baresip::User;
use crate::child::Child;

/// A phone that is running. It answers at once.
#[derive(Debug)]
pub struct Linphone {
    child: Child,
    keys: PipeWriter,
    folder: TempDir,
}

impl Linphone {
    /// A phone of `user`, whose requests go to `hub` by UDP. It takes its ports from the system, and sends from
    /// 127.0.0.1: it cannot be told to use another address of loopback. One that `registers` takes calls, too.
    pub fn start(user: &User<'_>, hub: SocketAddr, registers: bool) -> Self {
        let folder = TempDir::with_prefix("tandem-linphone-").expect("a temporary folder");
        for kept in [".config/linphone", ".local/share/linphone"] {
            fs::create_dir_all(folder.path().join(kept)).expect("the folder is ours");
        }
        let User { name, realm, password } = user;
        let registers = u8::from(registers);
        let settings = format!(
            "[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\ndefault_proxy=0\nguess_hostname=0\n\
             register_only_when_network_is_up=0\n[sound]\nuse_files=1\n[video]\nenabled=0\ncapture=0\ndisplay=0\n\
             [proxy_0]\nreg_proxy=<sip:{hub};transport=udp>\nreg_route=<sip:{hub};transport=udp>\n\
             reg_identity=sip:{name}@{realm}\nreg_expires=60\nreg_sendregister={registers}\npublish=0\n\
             [auth_info_0]\nusername={name}\npasswd={password}\nrealm={realm}\n"
        );
        let file = folder.path().join("settings");
        fs::write(&file, settings).expect("the folder is ours");
        let (stdin, keys) = std::io::pipe().expect("the system gives a pipe");
        let mut command = Command::new("linphonec");
        command.args(["-a", "-S", "-d", "6", "-c"]).arg(&file).arg("-l").arg(folder.path().join("messages"));
        command.env("HOME", folder.path()).current_dir(folder.path());
        let child = Child::start_reading(stdin, "linphonec", &mut command, &folder.path().join("log"));
        Self { child, keys, folder }
    }

    /// Types a command, such as `call sip:+442079460000@sip.exchange.example`.
    pub fn types(&mut self, command: &str) {
        writeln!(self.keys, "{command}").expect("it reads its keys");
    }

    /// The messages that it has sent and got, among much else.
    pub fn messages(&self) -> String {
        fs::read_to_string(self.folder.path().join("messages")).unwrap_or_default()
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        self.child.printed()
    }
}
