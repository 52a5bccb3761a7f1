//! A real gateway in a process of its own, real origins, and clients that send exactly what a test
//! says.

mod origin;

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    ops::Range,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub(crate) use self::origin::Origin;

/// Longest wait for anything that should take milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a stock Chrome sends with a navigation over plain HTTP, but for `Host`.
pub(crate) const CHROME: &str = "Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/138.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,\
    image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n\
    Accept-Encoding: gzip, deflate\r\nAccept-Language: en-US,en;q=0.9\r\n";

/// What curl sends by default.
pub(crate) const CURL: &str = "User-Agent: curl/8.5.0\r\nAccept: */*\r\n";

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package lies in the repository")
        .to_path_buf()
}

/// The `thornwall` that was built beside this test.
pub(crate) fn thornwall() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.parent().and_then(Path::parent);
    let binary = folder
        .expect("tests are built into target/*/deps")
        .join("thornwall");
    assert!(
        binary.exists(),
        "{} is missing; run `cargo build -p thornwall-gateway` first",
        binary.display()
    );
    binary
}

/// A folder that goes when the test does.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let mut plan = tempfile::Builder::new();
        // Servers of others read it, as users of their own.
        plan.prefix("thornwall-test-")
            .permissions(fs::Permissions::from_mode(0o755));
        Self(plan.tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// First port that tests use, and how many: the system gives none of them to outgoing connections.
const PORTS: (u16, u16) = (12_000, 20_000);
/// Ports that one process of tests reserves at once.
const BLOCK: u16 = 50;

/// A port that was free a moment ago, and that no other test gets.
pub(crate) fn free_port() -> u16 {
    static RESERVED: Mutex<(Vec<UnixDatagram>, Range<u16>)> = Mutex::new((Vec::new(), 0..0));
    let mut reserved = RESERVED.lock().unwrap();
    let (blocks, ports) = &mut *reserved;
    loop {
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        if let Some(port) = ports.find(free) {
            return port;
        }
        let (block, socket) = reserve_block(blocks.len());
        blocks.push(socket);
        let first = PORTS.0 + block * BLOCK;
        *ports = first..first + BLOCK;
    }
}

/// Reserves a block of ports among the processes of tests, until this one ends: by a name without a
/// file, which the system gives to one socket at a time.
fn reserve_block(held: usize) -> (u16, UnixDatagram) {
    let count = usize::from(PORTS.1 / BLOCK);
    let first = std::process::id() as usize * 7 + held;
    (first..first + count)
        .find_map(|number| {
            let block = u16::try_from(number % count).unwrap();
            let name = SocketAddr::from_abstract_name(format!("thornwall-test-ports-{block}"));
            let socket = UnixDatagram::bind_addr(&name.unwrap()).ok()?;
            Some((block, socket))
        })
        .expect("a block of ports that nobody has reserved")
}

/// Polls until `ready` says so.
pub(crate) fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A way to start the gateway.
pub(crate) struct Program {
    path: PathBuf,
    variables: Vec<(String, String)>,
}

impl Program {
    /// The built command under another path.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            variables: Vec::new(),
        }
    }

    /// The built command with these environment variables.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            path: thornwall(),
            variables: variables.iter().map(own).collect(),
        }
    }
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) port: u16,
    pub(crate) admin: u16,
    pub(crate) folder: Folder,
    pub(crate) config: PathBuf,
}

impl Gateway {
    /// Starts a gateway in front of `origin`: `extra` is TOML that follows the listener, the
    /// upstream `o` and what else every test needs.
    pub(crate) fn start(origin: u16, extra: &str) -> Self {
        let folder = Folder::new();
        let (port, admin) = (free_port(), free_port());
        let config = folder.write("t.toml", &Self::toml(port, admin, origin, extra));
        Self::start_from(folder, config, port, admin)
    }

    /// The configuration that [`Self::start`] uses.
    pub(crate) fn toml(port: u16, admin: u16, origin: u16, extra: &str) -> String {
        let models = root().join("models");
        // Keys of `extra` before its first table continue the table `[server]`.
        let tables = if extra.starts_with('[') {
            Some(0)
        } else {
            extra.find("\n[").map(|at| at + 1)
        };
        let (keys, tables) = extra.split_at(tables.unwrap_or(extra.len()));
        format!(
            "[server]\nthreads = 2\nmodels_dir = \"{}\"\n{keys}\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\
             [access_log]\nfile = \"access.log\"\n\
             [[listener]]\naddress = \"127.0.0.1:{port}\"\n\
             [[upstream]]\nname = \"o\"\nservers = [{{ address = \"127.0.0.1:{origin}\" }}]\n{tables}",
            models.display()
        )
    }

    /// Starts a gateway in this folder in a way of its own.
    pub(crate) fn start_with(program: &Program, folder: Folder, origin: u16, extra: &str) -> Self {
        let (port, admin) = (free_port(), free_port());
        let config = folder.write("t.toml", &Self::toml(port, admin, origin, extra));
        Self::spawn(program, folder, config, port, admin)
    }

    /// Starts a gateway from a configuration that is there.
    pub(crate) fn start_from(folder: Folder, config: PathBuf, port: u16, admin: u16) -> Self {
        Self::spawn(&Program::with(&[]), folder, config, port, admin)
    }

    /// Starts another one where this one has ended.
    pub(crate) fn start_again(mut self) -> Self {
        let folder = std::mem::replace(&mut self.folder, Folder::new());
        Self::start_from(folder, self.config.clone(), self.port, self.admin)
    }

    pub(crate) fn spawn(
        program: &Program,
        folder: Folder,
        config: PathBuf,
        port: u16,
        admin: u16,
    ) -> Self {
        let log = fs::File::create(folder.join("stderr.log")).unwrap();
        let child = Command::new(&program.path)
            .envs(program.variables.iter().cloned())
            .args(["run", "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut gateway = Self {
            child,
            port,
            admin,
            folder,
            config,
        };
        wait_for("the gateway to be ready", || {
            if let Some(status) = gateway.child.try_wait().unwrap() {
                panic!("the gateway ended with {status}:\n{}", gateway.stderr());
            }
            try_send(
                admin,
                "GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )
            .is_some_and(|reply| reply.status == 200)
        });
        gateway
    }

    /// Sends a GET with these header lines.
    pub(crate) fn get(&self, path: &str, headers: &str) -> Reply {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: t.example\r\n{}\r\n",
            closing(headers)
        ))
    }

    /// Sends exactly these bytes.
    pub(crate) fn send(&self, raw: &str) -> Reply {
        send(self.port, raw)
    }

    /// The exit code of a command about this gateway, and what it printed on both streams.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        command(arguments, &self.config)
    }

    /// The exit code of a command about this gateway, and what it printed on each stream.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        output(arguments, &self.config)
    }

    /// Everything that the gateway said on standard error.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.join("stderr.log")).unwrap_or_default()
    }

    /// The value of a metric, by the start of its line.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let reply = send(
            self.admin,
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        );
        let found = reply.body.lines().find(|text| text.starts_with(line));
        found
            .and_then(|text| text.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0.0)
    }

    /// The most memory that the process has had, in KiB.
    pub(crate) fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.expect("the kernel tells")
    }

    /// The decision about a request, as `thornwall explain --json` prints it.
    pub(crate) fn explain(&self, id: &str) -> serde_json::Value {
        let output = Command::new(thornwall())
            .args(["explain", id, "--json", "-c"])
            .arg(&self.config)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What `thornwall status --json` prints.
    pub(crate) fn status(&self) -> serde_json::Value {
        let (code, text) = self.run(&["status", "--json"]);
        assert_eq!(code, Some(0), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Asks it to stop, and sees that it does within a second.
    pub(crate) fn stops_at_once(&mut self) {
        let asked = Instant::now();
        self.signal("TERM");
        assert_eq!(self.wait(), Some(0));
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    /// Waits for the end of the process; its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut code = None;
        wait_for("the gateway to end", || {
            match self.child.try_wait().unwrap() {
                Some(status) => {
                    code = status.code();
                    true
                }
                None => false,
            }
        });
        code
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code of a command with this configuration, and what it printed on both streams.
pub(crate) fn command(arguments: &[&str], config: &Path) -> (Option<i32>, String) {
    let output = output(arguments, config);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn output(arguments: &[&str], config: &Path) -> Output {
    Command::new(thornwall())
        .args(arguments)
        .arg("-c")
        .arg(config)
        .output()
        .unwrap()
}

pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Header lines with `Connection: close` in place of whatever they said about it.
pub(crate) fn closing(headers: &str) -> String {
    let kept = headers
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("Connection:"));
    kept.chain(["Connection: close\r\n"]).collect()
}

/// A parsed answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn id(&self) -> &str {
        self.header("x-gateway-request-id")
            .or_else(|| self.header("x-request-id"))
            .expect("every answer carries the request's id")
    }
}

/// Sends bytes and reads to the end of the connection.
pub(crate) fn send(port: u16, raw: &str) -> Reply {
    try_send(port, raw).unwrap_or_else(|| panic!("no answer to {raw:?}"))
}

pub(crate) fn try_send(port: u16, raw: &str) -> Option<Reply> {
    let mut stream = connect(port)?;
    stream.write_all(raw.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A reset after the answer loses nothing of it.
    let _ = stream.read_to_end(&mut answer);
    Reply::parse(&answer)
}

/// Sends bytes and reads no further than the head of the answer: of a held client's, say.
pub(crate) fn ask(port: u16, raw: &str) -> Reply {
    let mut stream = connect(port).unwrap();
    stream.write_all(raw.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
        head.push(byte[0]);
    }
    Reply::parse(&head).unwrap_or_else(|| panic!("no answer to {raw:?}"))
}

/// Uploads three bytes, one in each 600 ms.
pub(crate) fn upload_slowly(port: u16) -> Reply {
    let mut client = connect(port).unwrap();
    let head =
        "POST / HTTP/1.1\r\nHost: t.example\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(600));
        client.write_all(b"x").unwrap();
    }
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    Reply::parse(&answer).unwrap()
}

pub(crate) fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// A site that hands everything on: no filters.
pub(crate) const OPEN_SITE: &str = "[[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"open\"\n\
    [[pipeline]]\nname = \"open\"\n";
