//! A WebDAV origin behind TLS that ends here: nginx, which refuses a destination on another server.

use std::{
    fs,
    process::{Child, Command},
};

use crate::{
    harness::{Folder, Gateway, PATIENCE, connect, free_port, wait_for},
    tls_client::SecureListener,
};

/// A real origin that copies and moves.
struct Dav {
    child: Child,
    port: u16,
    folder: Folder,
}

impl Dav {
    fn start() -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let path = folder.path().display();
        fs::create_dir(folder.join("files")).unwrap();
        let config = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
             events {{}}\nhttp {{\n access_log off; client_body_temp_path {path}/body;\n\
             proxy_temp_path {path}/p; fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u;\n\
             scgi_temp_path {path}/s;\n server {{ listen 127.0.0.1:{port}; root {path}/files;\n\
             dav_methods PUT DELETE MKCOL COPY MOVE; }}\n}}\n"
        );
        let config = folder.write("nginx.conf", &config);
        let nginx = if fs::exists("/usr/sbin/nginx").unwrap() {
            "/usr/sbin/nginx"
        } else {
            "nginx"
        };
        let child = Command::new(nginx)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(config)
            .spawn()
            .expect("nginx is installed (tests/setup)");
        wait_for("nginx", || connect(port).is_some());
        Self {
            child,
            port,
            folder,
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.join("files").join(name)).ok()
    }
}

impl Drop for Dav {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn copy_and_move_work_where_tls_ends_before_the_origin() {
    let dav = Dav::start();
    let listener = SecureListener::named("dav.t.example");
    let (port, ca) = (listener.port, listener.files.join("ca.pem"));
    let gateway = Gateway::start(
        dav.port,
        &format!(
            "{}[[site]]\nname = \"a\"\nhosts = [\"dav.t.example\"]\nupstream = \"o\"\n\
             pipeline = \"open\"\n[[pipeline]]\nname = \"open\"\n",
            listener.toml
        ),
    );
    let curl = |method: &str, from: &str, more: &[&str]| -> String {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method])
            .args(["--max-time", &PATIENCE.as_secs().to_string(), "--cacert"])
            .arg(&ca)
            .args(["--resolve", &format!("dav.t.example:{port}:127.0.0.1")])
            .args(more)
            .arg(format!("https://dav.t.example:{port}{from}"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let to = |path: &str| format!("Destination: https://dav.t.example:{port}{path}");
    assert_eq!(curl("PUT", "/one", &["--data-binary", "text"]), "201");
    assert_eq!(curl("COPY", "/one", &["-H", &to("/two%20%25")]), "204");
    assert_eq!(dav.text("two %").as_deref(), Some("text"));
    assert_eq!(
        curl("MOVE", "/one", &["--http1.1", "-H", &to("/three")]),
        "204"
    );
    assert_eq!(
        (dav.text("one"), dav.text("three")),
        (None, Some("text".to_owned()))
    );
    // Another server's is none of this one's, whatever its path.
    let other = "Destination: https://other.example/four";
    assert_eq!(curl("COPY", "/three", &["-H", other]), "400");
    assert_eq!(dav.text("four"), None);
    drop(gateway);
}
