use std::sync::Arc;

use messenger_core::testkit;
use messenger_testing::RedisServer;

use crate::support::{FreshNodes, Nodes, RealPresence};

mod bus {
    use super::*;

    testkit::bus_cases!(async {
        let server = RedisServer::start().await;
        (FreshNodes(Arc::new(Nodes::of(&server))), server)
    });
}

mod presence {
    use super::*;

    testkit::presence_cases!(async { RealPresence(RedisServer::start().await) });
}
