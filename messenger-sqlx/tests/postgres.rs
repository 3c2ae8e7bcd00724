//! The conformance kit on PostgreSQL.

#![cfg(feature = "postgres")]

mod support;

use messenger_core::testkit;
use support::postgres::fresh;

testkit::store_cases!(fresh());

testkit::model_cases!(fresh());
