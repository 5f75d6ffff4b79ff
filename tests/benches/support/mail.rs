//! A mail server that takes everything, on a thread of its own, so that it can be told from what is measured.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// Who waits for the next code to an address.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<String>>>>;

/// How it is with the mail server.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    Well,
    /// It thinks that long about each mail.
    Slow(Duration),
    /// It closes each connection at once.
    Down,
}

/// What takes mails.
#[derive(Clone)]
pub struct MailSink {
    pub port: u16,
    waiting: Waiting,
    condition: watch::Sender<Condition>,
}

impl MailSink {
    pub async fn start() -> Self {
        let waiting = Waiting::default();
        let (port, ready) = oneshot::channel();
        let given = Arc::clone(&waiting);
        let (condition, condition_now) = watch::channel(Condition::Well);
        let take = async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            port.send(listener.local_addr().expect("an address").port()).expect("somebody who waits");
            while let Ok((stream, _)) = listener.accept().await {
                if !matches!(*condition_now.borrow(), Condition::Down) {
                    tokio::spawn(serve(stream, Arc::clone(&given), condition_now.clone()));
                }
            }
        };
        // Not one of the runtime's, which would wait for its end.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(take);
        });
        Self { port: ready.await.expect("a port"), waiting, condition }
    }

    pub fn set(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }

    /// The code of the next mail to that address. Ask before it is sent.
    pub fn code_to(&self, address: &str) -> oneshot::Receiver<String> {
        let (sender, code) = oneshot::channel();
        self.waiting.lock().expect("no panic").insert(address.to_owned(), sender);
        code
    }
}

/// One connection, which says as little as SMTP asks for.
async fn serve(mut stream: TcpStream, waiting: Waiting, condition: watch::Receiver<Condition>) {
    stream.set_nodelay(true).expect("an option");
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    let (mut recipient, mut code, mut in_data) = (String::new(), String::new(), false);
    writer.write_all(b"220 sink\r\n").await.expect("a client");
    while let Ok(Some(line)) = lines.next_line().await {
        let answer: &[u8] = match line.as_str() {
            "." if in_data => {
                in_data = false;
                let condition = *condition.borrow();
                match condition {
                    Condition::Well => {}
                    Condition::Slow(time) => tokio::time::sleep(time).await,
                    Condition::Down => return,
                }
                if let Some(waiting) = waiting.lock().expect("no panic").remove(&recipient) {
                    // Whoever waited may have gone.
                    let _ = waiting.send(std::mem::take(&mut code));
                }
                b"250 taken\r\n"
            }
            _ if in_data => {
                if let Some(subject) = line.strip_prefix("Subject: ") {
                    code = subject.split(' ').next().unwrap_or_default().to_owned();
                }
                continue;
            }
            "DATA" => {
                in_data = true;
                b"354 go on\r\n"
            }
            "QUIT" => return,
            _ => {
                if let Some(to) = line.strip_prefix("RCPT TO:<") {
                    recipient = to.split('>').next().unwrap_or_default().to_owned();
                }
                b"250 yes\r\n"
            }
        };
        if writer.write_all(answer).await.is_err() {
            return;
        }
    }
}
