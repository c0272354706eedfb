//! A stand-in for a mail server: it speaks enough SMTP to take a mail in clear text, and keeps it whole.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::record::Record;

/// One mail that reached the sink.
#[derive(Clone, Debug, Default)]
pub struct SunkMail {
    /// The sender of the envelope.
    pub from: String,
    /// Its recipients.
    pub to: Vec<String>,
    /// Headers and body, as they came.
    pub text: String,
}

/// The sink. Takes every mail.
pub struct MailSink {
    address: SocketAddr,
    record: Arc<Record<SunkMail>>,
    serving: JoinHandle<()>,
}

impl MailSink {
    /// Starts one on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let record = Arc::new(Record::new());
        let kept = Arc::clone(&record);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                // A client that goes away in mid-mail has sent none.
                tokio::spawn(async move { drop(converse(stream, &kept).await) });
            }
        });
        Ok(Self { address, record, serving })
    }

    /// Where it listens, as a mail server is configured.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Every mail so far.
    #[must_use]
    pub fn mails(&self) -> Vec<SunkMail> {
        self.record.all()
    }

    /// Every mail, once there are `count` of them.
    ///
    /// # Errors
    /// When they do not come within 30 seconds.
    pub async fn wait_for(&self, count: usize) -> io::Result<Vec<SunkMail>> {
        self.record.wait_for(count).await
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn converse(stream: TcpStream, record: &Record<SunkMail>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 stand-in mail-sink\r\n").await?;
    let mut mail = SunkMail::default();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end();
        let upper = command.to_ascii_uppercase();
        let answer = if let Some(from) = upper.strip_prefix("MAIL FROM:") {
            mail = SunkMail { from: from.to_lowercase(), ..SunkMail::default() };
            "250 ok"
        } else if let Some(to) = upper.strip_prefix("RCPT TO:") {
            mail.to.push(to.trim_matches(['<', '>']).to_lowercase());
            "250 ok"
        } else if upper == "DATA" {
            stream.write_all(b"354 go on\r\n").await?;
            mail.text = data(&mut stream).await?;
            record.push(std::mem::take(&mut mail));
            "250 taken"
        } else if upper == "QUIT" {
            stream.write_all(b"221 bye\r\n").await?;
            return Ok(());
        } else {
            "250 stand-in"
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

/// Everything up to the line with a single dot.
async fn data(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&line);
        if line.trim_end_matches(['\r', '\n']) == "." {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
