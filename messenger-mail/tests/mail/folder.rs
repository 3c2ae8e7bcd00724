//! Mail as files.

use messenger_core::ports::Notifier as _;
use messenger_mail::{Composer, FolderNotifier, MailNotifier, MailUrl};

use crate::scenes;

fn composer() -> Composer {
    Composer::builder("Chat <chat@example.org>").build().unwrap()
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_same_mail_is_one_file_however_often_it_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/mail");
    let notifier = FolderNotifier::open(&path, composer()).unwrap();
    let (_, notification) = scenes::all("ru").swap_remove(0);
    let tries = (0..8).map(|_| notifier.notify(&notification));
    for done in futures::future::join_all(tries).await {
        done.unwrap();
    }
    assert_eq!(names(&path), ["01010101-0101-0101-0101-010101010101.eml"], "and nothing that was begun");
    let file = notifier.path(notification.claim);
    let mail = composer().compose(&notification).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), mail.as_bytes());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_folder_that_is_gone_is_for_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail");
    let notifier = FolderNotifier::open(&path, composer()).unwrap();
    std::fs::remove_dir(&path).unwrap();
    let (_, notification) = scenes::all("en").swap_remove(0);
    let error = notifier.notify(&notification).await.unwrap_err();
    assert!(matches!(error, messenger_core::ports::NotifyError::Unavailable(_)), "{error:?}");
    std::fs::create_dir(&path).unwrap();
    notifier.notify(&notification).await.unwrap();
}

#[tokio::test]
async fn a_url_opens_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let open = |url: &str| MailNotifier::open(url.parse::<MailUrl>().unwrap(), composer());
    let (_, notification) = scenes::all("en").swap_remove(0);
    for url in [format!("folder:{}", folder.path().display()), "log:".to_owned()] {
        let notifier = open(&url).unwrap();
        notifier.check().await.unwrap();
        notifier.notify(&notification).await.unwrap();
    }
    assert_eq!(names(folder.path()).len(), 1);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(open(&format!("folder:{}", file.display())).is_err());
}
