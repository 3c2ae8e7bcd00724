use std::sync::Arc;

use messenger_core::testkit;
use messenger_testing::{RedisCluster, RedisServer};

use crate::support::{ClusterNodes, FreshClusterNodes, RealPresence, relayed};

mod bus {
    use super::*;

    testkit::bus_cases!(async {
        let server = RedisServer::start().await;
        (relayed(&server), server)
    });
}

mod presence {
    use super::*;

    testkit::presence_cases!(async { RealPresence(RedisServer::start().await) });
}

mod cluster_bus {
    use super::*;

    testkit::bus_cases!(async { FreshClusterNodes(Arc::new(ClusterNodes::new().await)) });
}

mod cluster_presence {
    use super::*;

    testkit::presence_cases!(async { RealPresence(RedisCluster::start().await) });
}
