//! Configuration files that nobody wrote.

use crate::config::parse;

/// Parsing never panics. Every error is one line that names the file; what is accepted has
/// possible settings, and comments do not change it.
pub fn config_parse(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let config = match parse("paxos.conf", &text) {
        Ok(config) => config,
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("paxos.conf:") && !error.contains('\n'), "{error:?}");
            return;
        }
    };
    let commented = text.replace('\n', " # a comment\n") + "\n# the end";
    assert_eq!(parse("paxos.conf", &commented).as_ref(), Ok(&config));
    assert!((1..=64).contains(&config.acceptor_count()));
    for mtu in [None, Some(0), Some(576), Some(65_536), Some(usize::MAX)] {
        let Ok(settings) = config.settings(mtu) else { continue };
        assert!(settings.value_bytes <= settings.page_bytes());
        assert!(settings.leader_timeout >= settings.heartbeat_interval * 3);
    }
}
