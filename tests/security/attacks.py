"""The attacks that a server on a network must withstand: each with the answer it must get, and the tests that send it.

`test_attacks.py` holds this list against the tests: one that disappears, is renamed or skipped fails there. Most
attacks are sent to a whole real server; the first name of each is the place to begin reading.
"""

from __future__ import annotations

from typing import NamedTuple


class Attack(NamedTuple):
    """`tests` are `module.function` below `tests`."""

    name: str
    answer: str
    tests: tuple[str, ...]


ATTACKS = (
    Attack(
        "a name of the attacker's that DNS points at us (rebinding), in 26 spellings",
        "421 wrong_host, before any actor hears of it",
        (
            "security.test_browsers.test_dns_rebinding_is_misdirected",
            "security.test_browsers.test_two_hosts_are_one_too_many",
            "security.test_browsers.test_no_host_is_no_host",
        ),
    ),
    Attack(
        "a POST without a body from a page of another site, which needs no preflight",
        "403 cross_site",
        ("security.test_browsers.test_what_the_browser_calls_foreign_is_refused_without_a_body_too",),
    ),
    Attack(
        "JSON as text/plain, as a form sends it",
        "415 unsupported_media_type",
        ("security.test_browsers.test_json_in_disguise_is_refused",),
    ),
    Attack(
        "a preflight of another site",
        "403, and no Access-Control header on any answer",
        ("security.test_browsers.test_a_preflight_is_never_answered_with_leave",),
    ),
    Attack(
        "the event stream, or anything else, with the Origin of another site",
        "403 cross_site",
        (
            "security.test_browsers.test_a_foreign_origin_is_refused",
            "security.test_browsers.test_one_foreign_origin_beside_our_own_is_refused",
            "security.test_login.test_a_log_in_gives_a_cookie_that_only_the_browser_knows",
        ),
    ),
    Attack(
        "another user of this machine asks as if he were the owner",
        "401 for all but the health of the server",
        (
            "security.test_identity.test_a_real_process_of_another_user_is_not_the_owner",
            "security.test_identity.test_a_peer_of_another_uid_is_not_the_owner",
            "security.test_identity.test_the_tables_of_the_kernel_decide",
        ),
    ),
    Attack(
        "headers that say who forwards, and for whom",
        "401 where the owner would be let in; believed from the proxies that were named only",
        (
            "security.test_identity.test_behind_a_proxy_a_token_is_needed",
            "e2e.test_network.test_behind_a_proxy_it_believes_that_one_only",
            "e2e.test_network.test_rates_are_those_of_the_sender_not_of_the_proxy",
            "net.test_open_server.test_past_the_proxy_nobody_comes_in_and_the_proxy_is_believed",
            "unit.api.test_arrivals.test_nobody_else_is_believed",
            "unit.api.test_arrivals.test_past_the_proxy_nobody_comes_but_this_machine",
        ),
    ),
    Attack(
        "`--host 0.0.0.0` and nothing else",
        "exit code 78 and what is missing; no owner without a token, not even with an empty register of users",
        (
            "e2e.test_network.test_bare_it_is_not_opened_and_nothing_has_happened",
            "e2e.test_network.test_users_whose_tokens_are_all_over_do_not_open_it",
            "e2e.test_network.test_the_door_of_a_network_server",
            "net.test_open_server.test_from_another_host_nobody_comes_in_without_a_token",
            "security.test_identity.test_a_server_that_others_reach_has_no_owner_without_a_token",
            "unit.cli.test_posture.test_beyond_loopback_everything_that_is_missing_is_said_at_once",
        ),
    ),
    Attack(
        "a config_name that leads out of the folder, or a link in it that does",
        "422, or an unknown config; no byte of what lies outside",
        (
            "security.test_attacks.test_a_hostile_config_name_opens_nothing",
            "security.test_hostile_values.test_no_config_name_leads_out_of_the_folder",
            "unit.api_routes.test_configs.test_links_lead_nowhere",
        ),
    ),
    Attack(
        "a config that is swapped between submit and start",
        "the job runs what was submitted",
        (
            "security.test_attacks.test_a_config_that_is_swapped_after_submit_runs_as_it_was",
            "unit.api_routes.test_submit.test_a_queued_job_keeps_the_config_it_was_submitted_with",
        ),
    ),
    Attack(
        "numbers that nobody can hold: NaN, infinities, beyond 64 bits, five thousand digits",
        "400 or 422, and nothing has changed",
        (
            "security.test_hostile_values.test_what_nobody_can_hold_is_refused_by_every_route",
            "security.test_hostile_values.test_no_query_breaks_a_route",
            "security.test_hostile_values.test_cleanup_takes_days_and_nothing_else",
        ),
    ),
    Attack(
        "text that nobody can hold: NUL, halves of surrogate pairs, marks that turn the direction",
        "400 or 422, and nothing has changed",
        (
            "security.test_hostile_values.test_no_value_of_a_field_breaks_submit",
            "security.test_hostile_values.test_no_id_breaks_a_route",
            "security.test_bombs.test_control_characters_in_an_address",
        ),
    ),
    Attack(
        "a body that is too large, grows without end, comes too slowly or is nested too deeply",
        "413, 408 or 400; others are served meanwhile",
        (
            "security.test_bombs.test_a_body_that_grows_too_large",
            "security.test_bombs.test_a_body_that_says_it_is_too_large",
            "security.test_bombs.test_a_slow_body",
            "security.test_bombs.test_slow_senders_hold_up_nobody",
            "security.test_bombs.test_one_address_does_not_take_all_connections",
            "security.test_bombs.test_whoever_takes_none_of_its_answers_is_hung_up_on",
            "security.test_attacks.test_one_persons_streams_leave_room_for_others",
            "security.test_hostile_values.test_odd_bodies_break_no_route",
        ),
    ),
    Attack(
        "a head that is too long, has too many lines, never ends, or hides a second request",
        "431, 408 or 400, and the connection ends",
        (
            "security.test_bombs.test_a_head_without_end",
            "security.test_bombs.test_too_many_headers",
            "security.test_bombs.test_a_slow_head",
            "security.test_bombs.test_smuggling_a_second_request_is_not_possible",
            "security.test_bombs.test_a_handshake_that_never_ends",
            "security.test_bombs.test_unfinished_handshakes_are_bounded_before_they_cost_anything",
        ),
    ),
    Attack(
        "lines in what people write and programs print, to forge the log or the end of a stream",
        "escaped in the log, data in the stream",
        ("security.test_attacks.test_nobody_forges_a_line_of_the_log_or_of_a_stream",),
    ),
    Attack(
        "formulas in names, for whoever opens the table",
        "text in every CSV",
        (
            "security.test_attacks.test_no_table_runs_a_formula",
            "security.test_audit.test_as_a_table_it_runs_nothing",
        ),
    ),
    Attack(
        "globs, searches and paths of fields that take exponential time elsewhere",
        "an answer in the time of any other",
        ("security.test_attacks.test_no_pattern_takes_more_than_its_length",),
    ),
    Attack(
        "B acts on A's job, by every route there is",
        "404 where B may not see it, 403 where B may not act on it",
        ("security.test_matrix.test_the_one_word_of_a_route_decides", "security.test_matrix.test_the_matrix_is_large"),
    ),
    Attack(
        "fields in a submit that are not the sender's to set",
        "422 or 403 naming the field; no job",
        (
            "security.test_attacks.test_forbidden_fields_make_no_job",
            "unit.api_routes.test_jobs.test_forbidden_fields_of_submit_are_403",
        ),
    ),
    Attack(
        "every route of an administrator, as a viewer",
        "403",
        (
            "security.test_matrix.test_the_one_word_of_a_route_decides",
            "security.test_matrix.test_every_route_is_in_the_matrix",
            "security.test_audit.test_a_viewer_runs_no_command_not_even_again",
        ),
    ),
    Attack(
        "tokens that are revoked, expired, of a deleted user, or of another scope",
        "401, at once and on open streams too; 403 for the scope",
        (
            "security.test_tokens.test_a_revoked_token_opens_nothing_and_what_it_had_open_ends",
            "security.test_tokens.test_an_expired_token_opens_nothing_and_its_streams_end",
            "security.test_attacks.test_the_token_of_a_deleted_user_opens_nothing",
            "security.test_tokens.test_nobody_makes_a_token_for_more_than_they_may",
            "security.test_matrix.test_the_one_word_of_a_route_decides",
        ),
    ),
    Attack(
        "ten thousand wrong tokens, and guessed passwords",
        "401, then 429 with Retry-After; no memory, no load on the core",
        (
            "security.test_tokens.test_ten_thousand_wrong_tokens_get_429_and_cost_no_memory",
            "security.test_login.test_guessing_is_slow_for_an_address_and_for_a_name",
        ),
    ),
    Attack(
        "ten thousand submits by one person",
        "429 with Retry-After from the ten thousandth waiting job on; the others' go on as before",
        ("security.test_attacks.test_ten_thousand_submits_of_one_hold_up_nobody_else",),
    ),
    Attack(
        "a job that forks, fills the disk, ignores being ended, or escapes from its tree",
        "it is ended whole; logs are bounded; the other runs do not notice",
        (
            "keeper.test_stopping.test_a_bounded_fork_bomb_is_ended",
            "keeper.test_stopping.test_who_ignores_term_is_killed_after_the_grace",
            "keeper.test_stopping.test_a_daemon_of_the_run_is_ended_with_it",
            "keeper.test_keeper_dies.test_a_tree_that_hides_everything_is_ended_by_its_control_group",
            "fire.test_logs.test_a_flood_is_cut_at_the_cap_and_harms_nobody",
        ),
    ),
    Attack(
        "a webhook to an address of the cloud's own, also behind a name that changes its mind",
        "refused with the reason; nothing connects there, and the message goes to the address that was looked at",
        (
            "security.test_webhooks.test_no_address_from_inside_is_public",
            "security.test_webhooks.test_what_is_refused_when_it_is_added",
            "security.test_webhooks.test_names_and_strange_numbers_of_this_machine_lead_nowhere",
            "security.test_webhooks.test_a_name_that_flips_is_asked_once_and_the_message_goes_where_was_looked",
            "security.test_webhooks.test_a_redirect_is_not_followed",
            "e2e.test_webhooks.test_without_the_setting_nothing_inside_is_reached_and_levels_act",
        ),
    ),
)
