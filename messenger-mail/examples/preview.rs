//! Writes each kind of mail in each language into a folder, to be looked at in a browser, with the templates of another folder if one is given:
//! `cargo run -p messenger-mail --example preview -- OUT [TEMPLATES]`.

#[path = "../tests/mail/scenes.rs"]
#[expect(clippy::unwrap_used, reason = "what is parsed is written beside it")]
mod scenes;

use std::{env, error::Error, fs, path::Path};

use messenger_mail::Composer;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let out = arguments.next().ok_or("a folder to write to is missing")?;
    let mut composer = Composer::builder("Chat <chat@example.org>");
    if let Some(templates) = arguments.next() {
        composer = composer.folder(templates);
    }
    let composer = composer.build()?;
    let out = Path::new(&out);
    fs::create_dir_all(out)?;
    for language in ["en", "ru"] {
        for (name, notification) in scenes::all(language) {
            let mail = composer.compose(&notification)?;
            let file = out.join(format!("{name}.{language}"));
            fs::write(file.with_extension(format!("{language}.html")), mail.html())?;
            fs::write(file.with_extension(format!("{language}.txt")), mail.text())?;
            fs::write(file.with_extension(format!("{language}.eml")), mail.as_bytes())?;
            println!("{}: {}", file.display(), mail.subject());
        }
    }
    Ok(())
}
