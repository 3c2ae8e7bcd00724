/// Runs every case of the store ports for the store that the future makes: `store_cases!(async { … })`.
///
/// The future is run anew for each case and returns a [`FreshStore`](crate::testkit::FreshStore).
#[macro_export]
#[doc(hidden)]
macro_rules! __messenger_store_cases {
    ($fresh:expr) => {
        $crate::__messenger_cases! {
            run_store_case, $fresh,
            users {
                create_user_stores_account_and_session
                create_user_refuses_a_taken_username
                create_user_refuses_a_taken_address
                create_user_lets_one_of_many_racers_win
                create_user_refuses_a_known_id
                user_of_unknown_id_is_not_found
                user_reads_back_what_was_stored
                users_skips_unknown_ids
                user_by_login_finds_by_username_and_by_address
                user_by_login_does_not_find_the_erased
                find_users_matches_prefixes_of_both_names
                find_users_finds_by_username_alone_where_the_key_is_empty
                find_users_pages_by_name
                find_users_takes_the_prefix_literally
                update_user_of_unknown_or_erased_user_is_not_found
                update_user_changes_only_what_is_given
                update_user_replaces_preferences
                update_user_with_an_address_forgets_refusals
                update_user_with_another_address_is_not_confirmed
                update_user_conflicts_with_an_older_version
                update_user_refuses_a_taken_address
                change_password_ends_all_other_sessions
                change_password_of_unknown_or_erased_user_is_not_found
                change_password_conflicts_with_an_older_version
                upgrade_password_changes_the_hash_alone
                upgrade_password_of_another_hash_is_nothing
                erase_user_leaves_only_the_id
                erase_user_of_unknown_or_erased_user_is_not_found
                erase_user_conflicts_with_an_older_version
                set_last_seen_only_moves_forward
                set_last_seen_passes_over_the_unknown_and_the_erased
                note_mail_counts_refusals_until_one_is_accepted
                note_mail_suppresses_an_address_after_so_many_refusals
                note_mail_of_another_address_is_nothing
                confirm_email_keeps_the_first_time
                confirm_email_of_another_address_is_nothing
            }
            sessions {
                create_session_can_be_found_by_its_token
                create_session_of_unknown_or_erased_user_is_not_found
                create_session_ends_the_longest_unused_beyond_the_limit
                session_by_unknown_token_is_not_found
                sessions_lists_only_ones_own
                touch_session_only_moves_forward
                end_session_of_somebody_else_is_not_found
                end_session_makes_its_token_unknown
                remove_expired_sessions_keeps_the_live_ones
                existing_sessions_skips_the_ended
            }
            chats {
                open_direct_makes_one_chat_for_each_pair
                open_direct_with_unknown_or_erased_user_is_not_found
                open_direct_counts_a_membership_for_both
                create_group_stores_members_roles_and_the_system_message
                create_group_finds_the_one_made_with_the_same_client_id
                create_group_keeps_client_ids_of_different_creators_apart
                create_group_with_unknown_or_erased_member_is_not_found
                create_group_counts_a_membership_for_everyone
                chat_views_skip_chats_of_others
                chat_views_show_peer_last_message_and_unread
                chat_views_cut_the_last_message
                chat_views_are_of_one_moment
                list_chats_has_the_newest_activity_first
                list_chats_pages_without_gap_or_repetition
                membership_of_a_stranger_is_not_member
                roster_lists_members_in_the_order_of_joining
                roster_of_unknown_chat_is_not_found
                roster_is_of_one_moment
                change_roster_adds_removes_and_gives_roles
                change_roster_conflicts_with_an_older_version
                change_roster_of_unknown_chat_is_not_found
                change_roster_brings_back_one_who_left
                change_roster_writes_its_system_messages_in_order
                change_roster_leaves_nothing_unread_for_the_added
                change_roster_with_unknown_or_erased_user_is_not_found
                change_roster_counts_a_membership_for_the_added
                set_mute_is_ones_own
                set_mute_of_a_stranger_is_not_member
                set_notify_level_is_ones_own
                set_notify_level_of_a_stranger_is_not_member
                set_notify_level_ends_with_the_membership
                memberships_lists_every_chat_with_its_revision
                memberships_count_is_no_later_than_the_list
                memberships_number_commits_or_tell_nothing_of_them
                memberships_have_a_later_commit_after_every_change
                memberships_tell_of_chats_that_were_left
                memberships_commits_miss_nothing_while_others_write
                membership_counts_rise_when_one_is_added
                revisions_skips_unknown_chats
                changed_since_lists_chats_with_new_edited_and_deleted_messages
                changed_since_begins_with_that_time
                changed_since_says_where_somebody_may_have_joined
                changed_since_lists_no_more_than_the_limit
                chats_ever_joined_includes_those_left
            }
            messages {
                append_gives_out_seqs_and_revisions_without_gaps
                append_by_a_stranger_is_not_member
                append_answers_a_repeated_client_id_with_the_stored_message
                append_keeps_client_ids_of_different_senders_apart
                append_moves_the_senders_marks
                append_of_many_racers_leaves_no_gap_and_no_double
                append_of_an_empty_batch_is_nothing
                message_of_another_chat_is_not_found
                history_pages_in_both_directions
                history_beyond_the_budget_is_cut
                history_of_a_stranger_is_not_member
                edit_message_of_another_chat_is_not_found
                edit_message_keeps_place_and_gives_a_new_revision
                edit_message_conflicts_with_an_older_revision
                delete_message_of_another_chat_is_not_found
                delete_message_leaves_a_tombstone
                delete_message_conflicts_with_an_older_revision
                erase_messages_goes_on_until_none_is_left
                changes_carry_new_edited_and_deleted_messages
                changes_beyond_the_limit_are_truncated
                changes_beyond_the_budget_are_truncated
                changes_skip_unknown_chats
                changes_are_of_one_moment
            }
            erasing {
                create_session_conflicts_with_an_older_version
                create_session_with_a_former_password_leaves_none
                erase_user_enqueues_its_jobs
                erase_user_lets_nobody_in_who_came_before_it
                append_by_the_erased_is_not_member
                append_to_the_erased_is_not_member
                edit_message_by_the_erased_is_not_member
                erase_messages_of_the_erased_leaves_none_behind
            }
            markers {
                move_markers_only_moves_forward
                move_markers_stops_at_the_last_message
                move_markers_read_implies_delivered
                move_markers_counts_only_texts_as_unread
                move_markers_by_a_stranger_is_not_member
            }
            unread {
                claim_unread_chats_finds_chats_with_texts_that_are_old_enough
                claim_unread_chats_has_the_longest_waiting_first
                claim_unread_chats_finds_none_for_system_messages
                claim_unread_chats_keeps_the_time_of_the_first_text
                claim_unread_chats_leaves_what_others_hold
                claim_unread_chats_takes_over_what_a_dead_worker_had
                claim_unread_chats_of_racing_workers_takes_each_once
                claim_unread_chats_of_a_message_that_was_refused_is_nothing
                claim_unread_chats_finds_what_a_batch_stores_beside_what_it_refuses
                finish_unread_chat_waits_for_the_next_text
                finish_unread_chat_leaves_what_was_too_new
                finish_unread_chat_forgets_no_message_that_came_meanwhile
                finish_unread_chat_passes_over_what_was_deleted
                finish_unread_chat_of_a_lost_claim_is_nothing
                finish_unread_chat_forgets_nothing_while_others_send
            }
            pending {
                unread_members_have_an_old_text_of_somebody_else_after_their_mark
                unread_members_are_not_those_who_have_read_it
                unread_members_have_what_is_old_enough_after_what_is_not
                unread_members_are_not_those_who_left_or_were_erased
                unread_members_are_not_those_who_want_no_news
                unread_members_have_nothing_of_deleted_and_system_messages
                unread_members_have_nothing_from_before_they_joined
                unread_members_page_by_id
                unread_chats_have_the_newest_first
                unread_chats_count_what_is_pending
                unread_chats_are_those_one_wants_to_hear_of
                unread_lines_are_the_newest_as_they_are_now
                unread_lines_of_a_stranger_are_none
                people_last_seen_come_in_the_order_in_which_they_went
            }
            telling {
                record_notified_moves_marks_and_enqueues_its_jobs
                record_notified_of_what_was_read_meanwhile_is_nothing
                record_notified_of_somebody_who_was_told_of_another_chat_is_nothing
                record_notified_of_many_racers_is_done_by_one
                record_notified_of_somebody_who_left_or_was_erased_is_nothing
                unread_members_tell_what_they_were_told
                unread_chats_tell_how_often_one_was_told
            }
            jobs {
                enqueue_jobs_can_be_read_back
                enqueue_jobs_of_an_empty_batch_is_nothing
                enqueue_jobs_again_changes_nothing
                enqueue_jobs_passes_over_what_is_there_already
                enqueue_jobs_of_many_racers_keeps_one_of_a_key
                claim_jobs_takes_the_urgent_first_and_then_the_longest_due
                claim_jobs_takes_no_more_than_asked_for_of_each_kind
                claim_jobs_leaves_what_is_not_due_yet
                claim_jobs_leaves_kinds_that_were_not_asked_for
                claim_jobs_of_racing_workers_takes_each_once
                claim_jobs_takes_over_what_a_dead_worker_had
                claim_jobs_gives_up_what_killed_its_worker_each_time
                claim_jobs_leaves_paused_kinds
                renew_jobs_keeps_others_away
                renew_jobs_of_lost_claims_is_nothing
                finish_jobs_ends_a_job_as_its_worker_says
                finish_jobs_of_lost_claims_is_nothing
                finish_jobs_lets_a_job_be_tried_again_until_its_last_attempt
                finish_jobs_counts_no_attempt_for_a_snooze
                finish_jobs_frees_the_key
                finish_jobs_lets_those_go_on_that_waited_for_it
                job_of_unknown_id_is_not_found
                jobs_lists_by_kind_and_state_and_page
                change_job_puts_back_what_has_ended
                change_job_does_not_put_back_what_has_been_enqueued_again
                change_job_cancels_what_has_not_ended
                change_job_drops_what_is_not_at_work
                change_job_of_unknown_id_is_not_found
                pause_jobs_can_be_taken_back
                job_counts_tells_the_states_apart
                prune_jobs_keeps_the_dead_and_those_that_have_not_ended
            }
            racing_jobs {
                enqueue_jobs_after_one_that_is_ending_leaves_none_behind
                enqueue_jobs_of_a_key_that_is_given_back_keeps_one
                finish_jobs_of_racing_workers_ends_each_once
            }
            schedules {
                move_schedule_enqueues_its_job
                move_schedule_without_a_job_sets_its_time
                move_schedule_from_another_time_is_nothing
                move_schedule_passes_over_a_job_whose_key_is_in_use
                move_schedule_of_many_racers_is_done_by_one
                schedules_lists_by_name
                remove_schedule_forgets_it
            }
            keys {
                create_keys_answers_with_the_first_that_was_stored
                create_keys_does_not_bring_back_what_was_destroyed
                create_keys_lets_one_of_many_racers_win
                keys_skips_unknown_ids
                list_keys_pages_by_id
                rewrap_keys_replaces_what_was_expected
                destroy_keys_leaves_ids_alone
                destroy_keys_comes_before_a_key_that_is_created_later
            }
            retention {
                set_retention_is_told_and_seen
                set_retention_conflicts_with_an_older_version
                set_retention_of_unknown_chat_is_not_found
                overdue_chats_are_those_with_old_messages
                overdue_chats_go_by_their_own_time
                purge_turns_what_is_overdue_into_tombstones
                purge_goes_on_where_it_was
                purge_goes_by_the_shorter_time
                purge_records_what_it_has_done
                purge_of_a_chat_that_keeps_all_is_nothing
                purge_passes_over_what_is_held
                purge_comes_back_to_what_was_released
                purge_of_racers_does_each_message_once
                hold_is_listed_until_it_is_released
                hold_of_the_unknown_and_the_erased_is_not_found
                hold_ends_the_purges_that_are_under_way
                hold_keeps_an_account_from_being_erased
                holds_page_by_subject
                purges_page_by_id
            }
            contents {
                contents_have_each_field_with_its_place
                contents_skip_what_begins_with_that_byte
                contents_skip_what_was_removed
                contents_page_by_row
                replace_contents_changes_nothing_else
                replace_contents_leaves_what_was_changed_meanwhile
                replace_contents_moves_the_key_of_an_address
                replace_contents_of_a_taken_address_is_refused
                replace_contents_overwrites_nothing_while_others_write
            }
            lifecycle {
                dropped_future_leaves_nothing_half_done
                intents_left_alone_keep_nobody_waiting
                intents_of_all_kinds_left_alone_keep_nobody_waiting
                intents_dropped_half_way_keep_nobody_waiting
                racing_writers_of_all_kinds_get_along
                open_store_answers_a_ping
                closed_store_is_unavailable
            }
        }
    };
}

/// Plays random histories to the store that the future makes: `model_cases!(async { … })`.
///
/// The future is run anew for each history and returns a [`FreshStore`](crate::testkit::FreshStore). There are 64
/// histories unless the environment variable `PROPTEST_CASES` sets another number.
#[macro_export]
#[doc(hidden)]
macro_rules! __messenger_model_cases {
    ($fresh:expr) => {
        #[test]
        fn answers_are_those_of_the_memory_store() {
            $crate::testkit::model::answers_are_those_of_the_memory_store(|| $fresh);
        }

        #[test]
        fn state_plus_changes_equals_a_fresh_read() {
            $crate::testkit::model::state_plus_changes_equals_a_fresh_read(|| $fresh);
        }
    };
}

/// Runs every case of the presence port for the presence that the future makes: `presence_cases!(async { … })`.
///
/// The future is run anew for each case and returns a [`FreshPresence`](crate::testkit::FreshPresence).
#[macro_export]
#[doc(hidden)]
macro_rules! __messenger_presence_cases {
    ($fresh:expr) => {
        $crate::__messenger_cases! {
            run_presence_case, $fresh,
            presence {
                first_lease_brings_a_person_online_once
                renewed_lease_keeps_a_person_online
                released_person_stays_online_for_the_grace_period
                person_with_another_lease_stays_online
                person_goes_offline_once_after_the_grace_period
                person_goes_offline_when_leases_end_without_a_word
                person_who_comes_back_within_the_grace_period_never_went
                unknown_person_is_offline
            }
        }
    };
}

/// Runs every case of the bus port for the bus that the future makes: `bus_cases!(async { … })`.
///
/// The future is run anew for each case and returns a [`FreshBus`](crate::testkit::FreshBus).
#[macro_export]
#[doc(hidden)]
macro_rules! __messenger_bus_cases {
    ($fresh:expr) => {
        $crate::__messenger_cases! {
            run_bus_case, $fresh,
            bus {
                subscriber_hears_the_others_and_not_itself
                subscription_begins_with_a_gap
                joining_again_ends_the_former_subscription
                messages_of_a_topic_keep_their_order
                messages_arrive_as_they_were_published
                publishing_out_of_reach_fails
                subscribed_topics_are_heard
                topics_may_be_subscribed_before_joining
                topics_outlast_a_subscription
                unsubscribed_topics_may_be_subscribed_again
                dropped_next_loses_nothing
                loss_is_followed_by_a_gap
                slow_taker_finds_a_gap
                ended_subscription_says_so_and_can_be_joined_again
            }
        }
    };
}

/// One test for each case.
#[macro_export]
#[doc(hidden)]
macro_rules! __messenger_cases {
    ($run:ident, $fresh:expr, $($noun:ident { $($case:ident)* })*) => { $( $(
        #[test]
        fn $case() {
            $crate::testkit::$run($fresh, $crate::testkit::cases::$noun::$case);
        }
    )* )* };
}
