//! Configuration files that nobody wrote.

use crate::config::parse;
use crate::net::Group;
use crate::protocol::types::{AssignedBy, Role};

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
    let mut addresses: Vec<_> = config.groups.addresses().collect();
    assert!(addresses.iter().all(|it| it.port() != 0 && !it.ip().is_unspecified()));
    let count = addresses.len();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), count, "two groups, or two members, share an address");
    for role in Role::ALL {
        let is_list = matches!(config.groups.of(role), Group::Unicast(_));
        let members = config.groups.of(role).addresses();
        for id in [0, 1, members.len() as u32, members.len() as u32 + 1] {
            let is_known = !is_list || (1..=members.len()).contains(&(id as usize));
            assert_eq!(config.groups.of(role).member(id).is_some(), is_known);
        }
    }
    for mtu in [None, Some(0), Some(576), Some(65_536), Some(usize::MAX)] {
        let Ok(settings) = config.settings(mtu) else { continue };
        assert!(settings.value_bytes(AssignedBy::Client) <= settings.page_bytes());
        assert!(settings.leader_timeout >= settings.heartbeat_interval * 3);
    }
}
