use std::collections::HashMap;

use super::{Circle, allowed::Allowed, circles::circles, imports::imports, names::Names, problems};

#[test]
fn files_that_import_each_other_are_a_circle() {
    let found = found(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B;\npub struct A;"),
        ("b.rs", "pub struct B;\nfn f() -> super::a::A {}"),
    ]);
    assert_eq!(files(&found), ["a.rs b.rs"]);
    assert_eq!(
        found[0].to_string(),
        "2 files import each other:\n  a.rs\n    1: crate::b::B is in b.rs\n  b.rs\n    2: super::a::A is in a.rs\n"
    );
}

#[test]
fn so_are_three_of_which_each_imports_the_next() {
    let found = found(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::{b::B, d::D}; pub struct A;"),
        ("b.rs", "use super::c; pub type B = c::C;"),
        ("c.rs", "use crate::a::A as Other; pub struct C;"),
        ("d.rs", "pub struct D;"),
    ]);
    assert_eq!(files(&found), ["a.rs b.rs c.rs"]);
}

#[test]
fn a_re_export_leads_to_who_defines_the_name() {
    let through = [
        ("lib.rs", "mod a; mod b; pub use b::*;"),
        ("a/mod.rs", "mod inner; pub(crate) use self::inner::Inner as Outer;"),
        ("a/inner.rs", "use crate::B; pub struct Inner;"),
        ("b.rs", "use crate::a::Outer; pub struct B;"),
    ];
    assert_eq!(files(&found(&through)), ["a/inner.rs b.rs"]);
}

#[test]
fn what_only_re_exports_is_in_no_circle() {
    let none = found(&[
        ("lib.rs", "mod a; pub use a::A;"),
        ("a/mod.rs", "mod x; mod y; pub use x::X; pub use y::Y; pub struct A;"),
        ("a/x.rs", "use crate::{A, a::Y}; pub struct X;"),
        ("a/y.rs", "use super::A; pub(in crate::a) struct Y;"),
    ]);
    assert_eq!(files(&none), [""; 0]);
}

#[test]
fn who_re_exports_and_uses_what_uses_it_is_in_one() {
    let found = found(&[
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod x; pub use x::X; pub struct A(X);"),
        ("a/x.rs", "use super::*; pub struct X; fn f(a: A) {}"),
    ]);
    assert_eq!(files(&found), ["a/mod.rs a/x.rs"]);
}

#[test]
fn paths_in_macros_count() {
    let found = found(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "#[macro_export] macro_rules! make { () => { $crate::b::B { a: [a::b] } } } pub struct A;"),
        ("b.rs", "pub struct B; fn f() { crate::make!() }"),
    ]);
    assert_eq!(files(&found), ["a.rs b.rs"]);
}

#[test]
fn what_is_for_tests_is_left_out() {
    let none = found(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        (
            "b.rs",
            "pub struct B; #[cfg(test)] use crate::a::A; #[cfg(any(test, fuzzing))] mod inner { use crate::a::A; }",
        ),
    ]);
    assert_eq!(files(&none), [""; 0]);
}

#[test]
fn other_crates_and_what_leads_to_itself_end_the_search() {
    let none = found(&[
        ("lib.rs", "mod a; mod b; pub use a::*; pub use b::*;"),
        ("a.rs", "pub use crate::*; use tokio; use tokio::sync::Mutex; use ::b::B; fn f() -> Missing {}"),
        ("b.rs", "pub use crate::*; use super::super::super::C; pub use self::D as E; pub use self::E as D;"),
    ]);
    assert_eq!(files(&none), [""; 0]);
}

#[test]
fn what_is_allowed_must_be_needed() {
    let found = found(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::a::A; pub struct B;"),
        ("c.rs", "pub struct C;"),
    ]);
    let with = |files| problems(&found, &[Allowed { files, reason: "they are one" }]);
    assert_eq!(with(&["a.rs", "b.rs"]), [""; 0]);
    assert_eq!(with(&["a.rs", "b.rs", "c.rs"]).len(), 1, "c.rs is in no circle");
    assert_eq!(with(&["a.rs"]).len(), 2, "the circle is not allowed, and a.rs in no other");
    assert_eq!(problems(&found, &[]).len(), 1);
}

fn found(sources: &[(&str, &str)]) -> Vec<Circle> {
    let sources: HashMap<_, _> = sources.iter().copied().collect();
    let names = Names::of("lib.rs", &|file| sources.get(file).map(|&source| source.to_owned()));
    circles(&imports(&names))
}

fn files(circles: &[Circle]) -> Vec<String> {
    circles.iter().map(|circle| circle.files.iter().cloned().collect::<Vec<_>>().join(" ")).collect()
}
