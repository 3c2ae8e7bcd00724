//! Nodes of Socket.IO, with what npm installs for them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use messenger_testing::{
    RedisServer,
    sockets::{crowd::Side, process::Process, wire::Wire},
};

use crate::Result;

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("socketio/package.json")),
    ("package-lock.json", include_str!("socketio/package-lock.json")),
    ("server.js", include_str!("socketio/server.js")),
];

/// Why Socket.IO can't be measured here, if it can't.
pub(crate) fn missing() -> Option<String> {
    let missing = ["node", "npm"].into_iter().find(|program| {
        let said =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        !said.is_ok_and(|status| status.success())
    });
    missing.map(|program| format!("`{program}` is not here: install Node.js 18 or later, with npm"))
}

/// Two nodes on this Redis, or one on its own.
pub(crate) fn start(redis: Option<&RedisServer>) -> Result<Side> {
    let script = installed()?.join("server.js").display().to_string();
    let url = redis.map(RedisServer::url);
    let node = || {
        let arguments: Vec<_> = [&*script].into_iter().chain(url.as_deref()).collect();
        Process::program("node", &arguments)
    };
    let mut side = Side::bare(node()?, Wire::SocketIo);
    if redis.is_some() {
        side.others.push(node()?);
    }
    Ok(side)
}

/// The folder with the script and its packages, which are installed if they are not there in these versions.
fn installed() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nodes-socketio");
    let is_there = folder.join("node_modules").exists()
        && FILES
            .iter()
            .all(|(name, text)| fs::read_to_string(folder.join(name)).is_ok_and(|there| there == *text));
    if is_there {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    for (name, text) in FILES {
        fs::write(folder.join(name), text)?;
    }
    eprintln!("installing Socket.IO in {}", folder.display());
    let status = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .env("NODE_ENV", "production")
        .current_dir(&folder)
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(folder);
    }
    // Else the next run would take what is there for whole.
    fs::remove_dir_all(&folder)?;
    Err("npm could not install Socket.IO; without the part socket.io the others can be measured".into())
}
