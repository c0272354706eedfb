//! The demo's stage: one temporary folder that holds everything, free ports, fresh secrets, and the stand-ins.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use common::config::{Source, Vars};
use common::domain::SourceName;
use common::providers::samples;
use common::seal::Key;
use stand_ins::FakeGraphApi;
use tempfile::TempDir;
use uuid::Uuid;

use crate::failure::Failure;
use crate::http::Http;
use crate::up::House;

/// What the source is called.
const SOURCE: &str = "whatsapp";

/// Everything that the demo runs on.
pub(super) struct Stage {
    /// Ingress and worker.
    pub(super) house: House,
    /// The stand-in for WhatsApp's API.
    pub(super) api: FakeGraphApi,
    /// The configured source.
    pub(super) source: Source,
    /// Posts webhooks.
    pub(super) client: Http,
    folder: TempDir,
}

impl Stage {
    /// Makes it and starts it.
    pub(super) async fn set() -> Result<Self, Failure> {
        let failed = |what: &str, error: std::io::Error| Failure::cannot_run(format!("cannot {what}: {error}"));
        let folder = tempfile::Builder::new().prefix("handrail-demo-").tempdir();
        let folder = folder.map_err(|error| failed("make a temporary folder", error))?;
        let api =
            FakeGraphApi::start().await.map_err(|error| failed("start the stand-in for WhatsApp's API", error))?;
        let vars =
            furnish(folder.path(), &api.url()).map_err(|error| failed("write the demo's configuration", error))?;
        let house = House::start(&vars, None).await?;
        let source = SourceName::parse(SOURCE).ok().and_then(|name| house.config.sources.get(&name).cloned());
        let source = source.ok_or_else(|| Failure::cannot_run("the demo's own configuration has no source"))?;
        let environment = format!("export INGRESS_BIND={}\n", house.address);
        append(&folder.path().join("env"), &environment)
            .map_err(|error| failed("write the demo's environment", error))?;
        Ok(Self { house, api, source, client: Http::new()?, folder })
    }

    /// Where its webhooks are taken.
    pub(super) fn url(&self) -> String {
        self.house.webhook(&self.source.name)
    }

    /// Whether everything queued has been taken in.
    pub(super) async fn queue_is_empty(&self) -> bool {
        match self.house.queue.depths().await {
            Ok(depths) => depths.iter().all(|depth| depth.ready == 0 && depth.unacked.unwrap_or(0) == 0),
            Err(_) => false,
        }
    }

    /// What plays which part, for the head of the page.
    pub(super) fn who_plays(&self) -> String {
        format!(
            "handrail demo: signed sample webhooks, posted over HTTP to {}\n\
             Real: ingress, worker, SQLite queue and store (in {}).\n\
             Stand-ins: the model is \"scripted\" and WhatsApp's API is a fake at {}. No network, no keys.\n",
            self.url(),
            self.folder.path().display(),
            self.api.url(),
        )
    }

    /// What a newcomer can do now.
    pub(super) fn what_next(&self) -> String {
        let env = self.folder.path().join("env");
        format!(
            "\nStill up, at {}. In another terminal, from this folder:\n\
             \x20 . {}                      (this demo's settings)\n\
             \x20 cargo run -- send whatsapp --text \"Do you open on Sunday?\"\n\
             \x20 cargo run -- conversation list             and then show, take, reply, return <id>\n\
             \x20 cargo run -- dead list                     and then show, replay <id>\n\n\
             For real: set LLM_PROTOCOL (openai or anthropic), LLM_BASE_URL, LLM_API_KEY and LLM_MODEL for the model;\n\
             WHATSAPP_APP_SECRET, WHATSAPP_VERIFY_TOKEN, WHATSAPP_ACCESS_TOKEN and WHATSAPP_PHONE_NUMBER_ID for WhatsApp;\n\
             then `cargo run -- up`, and give Meta https://<your host>/webhooks/whatsapp as the callback.\n\n\
             Ctrl-C ends it and removes everything it made.",
            self.url(),
            env.display(),
        )
    }

    /// Drains the rooms and removes the folder.
    pub(super) async fn strike(self) {
        self.house.drain().await;
        // What cannot be removed lies in the system's temporary folder, and holds only made-up words.
        let _left = self.folder.close();
    }
}

/// Writes the configuration, and gives the variables that the rooms read.
fn furnish(folder: &Path, api_url: &str) -> std::io::Result<Vars> {
    let at = |name: &str| folder.join(name).display().to_string();
    let keys = format!("demo:{}", Key::generate().to_base64());
    append(&folder.join("keys"), &keys)?;
    append(&folder.join("handrail.toml"), &toml(api_url))?;
    let doors = [
        ("HANDRAIL_CONFIG", at("handrail.toml")),
        ("HANDRAIL_KEYS_FILE", at("keys")),
        ("QUEUE_URL", format!("sqlite://{}", at("queue.db"))),
        ("DATABASE_URL", format!("sqlite://{}", at("handrail.db"))),
    ];
    let mut environment =
        "unset HANDRAIL_MODE HANDRAIL_KEYS HANDRAIL_QUEUE_KEYS HANDRAIL_PSEUDONYM_KEY LLM_PROTOCOL\n".to_owned();
    doors.iter().for_each(|(name, value)| environment += &format!("export {name}='{value}'\n"));
    append(&folder.join("env"), &environment)?;
    let binds =
        ["INGRESS_BIND", "INGRESS_ADMIN_BIND", "WORKER_ADMIN_BIND"].map(|name| (name, "127.0.0.1:0".to_owned()));
    let all = doors.into_iter().chain(binds).map(|(name, value)| (name.to_owned(), value));
    Ok(Vars::from_map(all.collect::<HashMap<_, _>>()))
}

/// Secrets are made anew for each run: whoever reads this source knows none of them.
fn toml(api_url: &str) -> String {
    let secret = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    format!(
        "# Made by `handrail demo` for one run.\n\
         [[source]]\nname = \"{SOURCE}\"\nprovider = \"whatsapp\"\nsecrets = [\"{}\"]\nverify_token = \"{}\"\n\
         access_token = \"{}\"\nphone_number_id = \"{}\"\napi_url = \"{api_url}\"\n\n\
         [[model]]\nname = \"scripted\"\nprotocol = \"scripted\"\n",
        secret(),
        secret(),
        secret(),
        samples::PHONE_NUMBER_ID,
    )
}

fn append(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}
