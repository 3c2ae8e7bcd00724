use std::{collections::HashMap, fs, time::Duration};

/// The CPU time of all processes of a server, also of those that have ended since this was made. Linux only:
/// elsewhere it stays zero.
#[derive(Debug)]
pub struct ServerCpu {
    postmaster: u32,
    /// By thread, in nanoseconds.
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
        let threads =
            self.processes().into_iter().flat_map(|process| numbers_in(&format!("/proc/{process}/task")));
        for thread in threads {
            // To the nanosecond; `stat` has steps of 10 ms.
            let Ok(text) = fs::read_to_string(format!("/proc/{thread}/schedstat")) else { continue };
            if let Some(running) = text.split(' ').next().and_then(|running| running.parse().ok()) {
                self.used.insert(thread, running);
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
    numbers_in("/proc").filter_map(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name of the program is in parentheses and may have blanks in it.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some(Process { id, parent })
    })
}

/// The numbers that entries of this folder are named by.
fn numbers_in(folder: &str) -> impl Iterator<Item = u32> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The CPU time of all threads of this process. Unix only: elsewhere it stays zero.
#[cfg(all(unix, feature = "bench"))]
pub(crate) fn cpu_of_this_process() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Elsewhere it is not measured.
#[cfg(all(not(unix), feature = "bench"))]
pub(crate) fn cpu_of_this_process() -> Duration {
    Duration::ZERO
}
