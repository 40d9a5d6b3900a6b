//! baresip as a phone: it plays a tone into the call and records what it hears.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{Child, Signal};
use crate::tone;

/// A phone that is running. It answers at once.
#[derive(Debug)]
pub struct Baresip {
    /// Where it takes SIP over UDP and TCP.
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

/// What a phone at `ip` needs to meet others.
fn own_settings(ip: IpAddr) -> String {
    // RTP goes to loopback addresses too, whatever other interfaces there are.
    format!("sip_listen {ip}:5060\nnet_interface {ip}\nmodule g711.so\n")
}

/// Folder of baresip's modules, by machine.
const MODULES: [&str; 3] = [
    "/usr/lib/baresip/modules",
    "/usr/lib/x86_64-linux-gnu/baresip/modules",
    "/usr/lib/aarch64-linux-gnu/baresip/modules",
];

/// Who a phone is for the exchange.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// The user name.
    pub name: &'a str,
    /// The realm.
    pub realm: &'a str,
    /// The password.
    pub password: &'a str,
}

/// An account that registers nowhere.
fn account(number: &str, ip: IpAddr) -> String {
    format!("<sip:{number}@{ip}>;regint=0;answermode=auto;audio_codecs=pcma\n")
}

impl Baresip {
    /// A phone that plays a tone of `hertz` and waits for calls to `number`.
    pub fn answers(ip: IpAddr, hertz: f64, number: &str) -> Self {
        Self::start(ip, hertz, &account(number, ip), &own_settings(ip), None)
    }

    /// A phone that plays a tone of `hertz` and calls `called` through `hub`, for `talk` altogether.
    pub fn calls(ip: IpAddr, hertz: f64, called: &str, hub: SocketAddr, talk: Duration) -> Self {
        let called = format!("sip:{called}@{hub}");
        Self::start(ip, hertz, &account("+88201", ip), &own_settings(ip), Some((&called, talk)))
    }

    /// A phone with these files for accounts and settings, the audio of this machine put below, that plays a tone
    /// of `hertz` and dials `called` as somebody at its keys would, for `talk` altogether.
    pub fn configured(ip: IpAddr, hertz: f64, files: (&str, &str), called: &str, talk: Duration) -> Self {
        Self::start(ip, hertz, files.0, files.1, Some((called, talk)))
    }

    /// A phone that registers at `hub` by `transport`, and waits for calls to come from there.
    pub fn registers(ip: IpAddr, hertz: f64, user: &User<'_>, hub: SocketAddr, transport: &str) -> Self {
        let User { name, realm, password } = user;
        let account = format!(
            "<sip:{name}@{realm};transport={transport}>;auth_pass={password};outbound=\"sip:{hub};transport={transport}\";\
             regint=60;answermode=auto;audio_codecs=pcma\n"
        );
        Self::start(ip, hertz, &account, &own_settings(ip), None)
    }

    fn start(ip: IpAddr, hertz: f64, accounts: &str, settings: &str, call: Option<(&str, Duration)>) -> Self {
        let folder = TempDir::with_prefix("tandem-baresip-").expect("a temporary folder");
        let path = folder.path();
        let modules = MODULES.into_iter().find(|folder| Path::new(folder).exists());
        let modules = modules.expect("baresip's modules are installed");
        let recordings = path.join("recordings");
        fs::create_dir(&recordings).expect("the folder is ours");
        let tone_file = path.join("tone.wav");
        tone::write_wav(&tone_file, &tone::sine(hertz, 60));
        let config = format!(
            "{settings}\
             audio_source aufile,{tone}\n\
             audio_player aubridge,heard\n\
             audio_alert aubridge,alert\n\
             ausrc_srate 8000\n\
             auplay_srate 8000\n\
             ausrc_channels 1\n\
             auplay_channels 1\n\
             rtp_ports 20000-29999\n\
             snd_path {recordings}\n\
             module_path {modules}\n\
             module aufile.so\n\
             module aubridge.so\n\
             module sndfile.so\n\
             module_tmp uuid.so\n\
             module_tmp account.so\n\
             module_app menu.so\n",
            tone = tone_file.display(),
            recordings = recordings.display(),
        );
        fs::write(path.join("config"), config).expect("the folder is ours");
        fs::write(path.join("accounts"), accounts).expect("the folder is ours");
        fs::write(path.join("contacts"), "").expect("the folder is ours");

        let mut command = Command::new("baresip");
        command.arg("-f").arg(path).current_dir(path);
        if let Some((called, talk)) = call {
            command.args(["-e", &format!("d {called}"), "-t", &talk.as_secs().to_string()]);
        } else {
            // Should it not be ended otherwise.
            command.args(["-t", "120"]);
        }
        let child = Child::start("baresip", &mut command, &path.join("log"));
        Self { address: SocketAddr::new(ip, 5060), child, folder }
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        self.child.printed()
    }

    /// Waits until it has ended its call and itself.
    pub fn wait(&mut self, deadline: Duration) {
        self.child.wait(deadline);
    }

    /// Asks it to stop, and waits until its recordings are whole.
    pub fn stop(&mut self) {
        self.child.signal(Signal::Terminate);
        self.child.wait(Duration::from_secs(10));
    }

    /// The samples it heard in its only call.
    pub fn heard(&self) -> Vec<i16> {
        let recordings = fs::read_dir(self.folder.path().join("recordings")).expect("the folder is there");
        let file = recordings
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.to_string_lossy().ends_with("-dec.wav"));
        tone::read_wav(
            &file.unwrap_or_else(|| panic!("nothing was recorded:\n{}", self.child.last_lines(30))),
        )
    }
}
