//! A short run of the fault test: `cargo run -p messenger-testing --bin faults` has longer ones.

use std::time::Duration;

use messenger_testing::{
    faults::{BusKind, Options, run},
    server_url,
};

#[test]
fn what_clients_are_told_is_what_is_stored_whatever_fails() {
    let options = Options {
        server: env!("CARGO_BIN_EXE_messenger-server").into(),
        database_server: server_url(),
        length: Duration::from_secs(15),
        bus: BusKind::Redis,
        nodes: 3,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for seed in 1..=2 {
        let outcome = runtime.block_on(run(seed, &options));
        let findings: Vec<_> = outcome.findings.iter().take(10).map(ToString::to_string).collect();
        assert!(findings.is_empty(), "seed {seed}: {findings:#?}");
        assert!(outcome.acknowledged > 100 && outcome.told > 500, "{outcome}");
    }
}
