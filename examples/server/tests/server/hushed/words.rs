/// In every text, name, address, password and title that is sent; no word of any program.
pub(super) const WORD: &str = "zqxj";

/// It, with what would act on a terminal or begin a line.
pub(super) const ACTIVE: &str = "zqxj\u{1b}[31m\r\n2026-01-01 ERROR zqxj\u{9b}\u{2028}\u{202e}\u{7}zqxj";
