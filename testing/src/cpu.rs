use std::{collections::HashMap, fs, time::Duration};

/// The CPU time of all processes of a server, also of those that have ended since this was made. Linux only:
/// elsewhere it stays zero.
#[derive(Debug)]
pub struct ServerCpu {
    postmaster: u32,
    /// By process, in nanoseconds.
    used: HashMap<u32, u64>,
}

impl ServerCpu {
    /// Of the server whose first process is this one.
    pub fn of(postmaster: u32) -> Self {
        Self { postmaster, used: HashMap::new() }
    }

    /// The processes that there are now.
    pub fn processes(&self) -> Vec<u32> {
        let ours = |process: &Process| process.id == self.postmaster || process.parent == self.postmaster;
        processes().filter(ours).map(|process| process.id).collect()
    }

    /// What was used until now.
    pub fn used(&mut self) -> Duration {
        for process in self.processes() {
            // To the nanosecond; `stat` has steps of 10 ms. Each process of PostgreSQL is one thread.
            let Ok(text) = fs::read_to_string(format!("/proc/{process}/schedstat")) else { continue };
            if let Some(running) = text.split(' ').next().and_then(|running| running.parse().ok()) {
                self.used.insert(process, running);
            }
        }
        Duration::from_nanos(self.used.values().sum())
    }
}

struct Process {
    id: u32,
    parent: u32,
}

fn processes() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name of the program is in parentheses and may have blanks in it.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some(Process { id, parent })
    })
}
