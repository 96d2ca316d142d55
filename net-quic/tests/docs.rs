//! The migration page against the lists of what came before: no name is left out.

const PAGE: &str = include_str!("../../docs/migration.md");

/// Every name that users of the two predecessors have in their code.
const NAMES: &str = "join leave active_view passive_view members register_service/1,2 unregister_service lookup lookup_local \
    list_services whereis_service/1,2 retries subscribe_services new_map/1,2 validator scan_ms tombstone_ttl_ms persist \
    map_put map_get map_remove map_keys map_to_list delete_map subscribe_map place owners/2 partition is_owner \
    subscribe_shard register_acceptor open send close_stream lead resign leader is_leader fence remind remind_after \
    cancel_reminder subscribe_reminders migrate_peer rotate_cert rotate_identity hlc now update compare active_size \
    passive_size listen_port contact_nodes auth_enabled auth_trust_mode replicated_maps map_data_dir ring_size \
    member_heartbeat_ms member_ttl_ms member_skew_ms set set_sync get get_cfg set_cfg status subscribe unsubscribe \
    event_mode";

#[test]
fn every_name_of_what_came_before_stands_on_the_migration_page() {
    // The first column of its tables is theirs.
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let theirs: String = rows.collect::<Vec<_>>().join("\n");
    let missing: Vec<&str> =
        NAMES.split_whitespace().filter(|name| !theirs.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_row_of_the_migration_page_has_an_answer() {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let unanswered: Vec<&str> = rows.filter(|row| row.trim_end_matches(" |").ends_with('|')).collect();
    assert_eq!(unanswered, [""; 0]);
}
