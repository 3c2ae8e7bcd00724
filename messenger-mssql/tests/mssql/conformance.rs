//! The conformance kit, in databases as the server makes them and in such that keep versions of rows: what is read of
//! several tables is made to be of one moment by other means in each.

use std::sync::Arc;

use messenger_core::testkit;
use messenger_testing::MssqlDatabase;

use crate::support::patient;

mod as_made {
    use messenger_core::testkit;

    use crate::support::fresh;

    testkit::store_cases!(fresh());

    testkit::model_cases!(fresh());
}

#[test]
fn erasures_leave_nothing() {
    let database = Arc::new(testkit::run(MssqlDatabase::create()));
    let reopen = move || {
        let builder = patient(&database.url());
        async move { Arc::new(builder.open().await.unwrap()) }
    };
    testkit::erasures_leave_nothing(reopen, 50, 10);
}

mod versioned {
    use messenger_core::testkit;

    use crate::support::versioned;

    testkit::store_cases!(versioned());
}

mod instrumented {
    use messenger_core::testkit::{self, Instrumented};

    use crate::support::fresh;

    testkit::store_cases!(async { Instrumented(fresh().await) });
}

mod sealed {
    use messenger_core::testkit::{self, Sealed};

    use crate::support::fresh;

    testkit::store_cases!(async { Sealed::of(fresh().await).await });
}
