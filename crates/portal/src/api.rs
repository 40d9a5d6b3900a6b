//! Every operation of the API, and the OpenAPI document that describes them.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::problem::{FieldError, Problem};
use crate::session::COOKIE;
use crate::vocabulary::ReasonCode;
use crate::{
    access, agreement, allocation, announcement, audit, block_list, bulk, call, certificate, change_set,
    club, configuration, connect, endpoint, endpoint_health, import, looking_glass, lookup, lookup_batch,
    member, node, overview, policy, range, range_challenge, rate_deck, reachability, reason, selection_check,
    session, token, trace, transit_offer, user,
};

/// Where every operation lies.
pub(crate) const BASE: &str = "/api/v1";

/// The operations under [`BASE`], with their description.
pub(crate) fn operations() -> (Router<App>, OpenApi) {
    let described = OpenApiRouter::with_openapi(document_head()).nest(
        BASE,
        OpenApiRouter::new()
            .routes(routes!(session::create_session, session::get_session, session::delete_session))
            .routes(routes!(member::join))
            .routes(routes!(member::list_members, member::create_member))
            .routes(routes!(member::get_member, member::update_member))
            .routes(routes!(user::list_users, user::create_user))
            .routes(routes!(user::disable_user))
            .routes(routes!(token::list_tokens, token::create_token))
            .routes(routes!(token::revoke_token))
            .routes(routes!(endpoint::list_endpoints, endpoint::create_endpoint))
            .routes(routes!(endpoint::get_endpoint, endpoint::update_endpoint, endpoint::delete_endpoint))
            .routes(routes!(endpoint_health::get_endpoint_health))
            .routes(routes!(access::get_access))
            .routes(routes!(access::put_inbound_credential, access::delete_inbound_credential))
            .routes(routes!(access::put_outbound_credential, access::delete_outbound_credential))
            .routes(routes!(range::list_ranges, range::claim_range))
            .routes(routes!(range::withdraw_range))
            .routes(routes!(range::renew_range))
            .routes(routes!(range_challenge::get_challenge, range_challenge::start_challenge))
            .routes(routes!(range_challenge::answer_challenge))
            .routes(routes!(certificate::list_certificates, certificate::bring_certificate))
            .routes(routes!(certificate::prove_certificate))
            .routes(routes!(certificate::delete_certificate))
            .routes(routes!(range::list_all_ranges))
            .routes(routes!(range::verify_range))
            .routes(routes!(range::refuse_range))
            .routes(routes!(allocation::list_allocations))
            .routes(routes!(allocation::put_allocations, allocation::delete_allocations))
            .routes(routes!(allocation::get_holder_names, allocation::put_holder_names))
            .routes(routes!(announcement::list_announcements, announcement::create_announcement))
            .routes(routes!(
                announcement::get_announcement,
                announcement::update_announcement,
                announcement::withdraw_announcement
            ))
            .routes(routes!(change_set::list_change_sets, change_set::create_change_set))
            .routes(routes!(change_set::list_all_change_sets))
            .routes(routes!(change_set::get_change_set))
            .routes(routes!(change_set::plan_change_set))
            .routes(routes!(change_set::approve_change_set))
            .routes(routes!(change_set::apply_change_set))
            .routes(routes!(change_set::cancel_change_set))
            .routes(routes!(change_set::roll_back_change_set))
            .merge(
                OpenApiRouter::new()
                    .routes(routes!(bulk::bulk_announcements))
                    .layer(DefaultBodyLimit::max(bulk::MAX_BODY)),
            )
            .routes(routes!(import::list_imports, import::create_import))
            .routes(routes!(import::get_import, import::delete_import))
            .routes(routes!(import::get_import_errors))
            .routes(routes!(import::put_import_content))
            .routes(routes!(agreement::list_agreements, agreement::propose_agreement))
            .routes(routes!(agreement::get_agreement))
            .routes(routes!(agreement::list_agreement_history))
            .routes(routes!(agreement::counter_agreement))
            .routes(routes!(agreement::accept_agreement))
            .routes(routes!(agreement::refuse_agreement))
            .routes(routes!(agreement::suspend_agreement))
            .routes(routes!(agreement::resume_agreement))
            .routes(routes!(agreement::end_agreement))
            .routes(routes!(club::list_all_clubs, club::create_club))
            .routes(routes!(club::expel_from_club))
            .routes(routes!(club::readmit_to_club))
            .routes(routes!(club::list_clubs))
            .routes(routes!(club::join_club))
            .routes(routes!(club::leave_club))
            .routes(routes!(rate_deck::list_rate_decks, rate_deck::create_rate_deck))
            .routes(routes!(rate_deck::delete_rate_deck))
            .routes(routes!(rate_deck::list_own_rate_decks, rate_deck::create_own_rate_deck))
            .routes(routes!(rate_deck::delete_own_rate_deck))
            .merge(
                OpenApiRouter::new()
                    .routes(routes!(rate_deck::list_rates, rate_deck::load_rates))
                    .routes(routes!(rate_deck::list_own_rates, rate_deck::load_own_rates))
                    .layer(DefaultBodyLimit::max(rate_deck::MAX_BODY)),
            )
            .routes(routes!(rate_deck::get_currency, rate_deck::put_currency))
            .routes(routes!(transit_offer::list_transit_offers, transit_offer::create_transit_offer))
            .routes(routes!(transit_offer::update_transit_offer, transit_offer::withdraw_transit_offer))
            .routes(routes!(transit_offer::list_all_transit_offers))
            .routes(routes!(transit_offer::permit_transit_offer))
            .routes(routes!(block_list::get_block_list, block_list::put_block_list))
            .routes(routes!(block_list::get_common_block_list, block_list::put_common_block_list))
            .routes(routes!(call::list_calls))
            .routes(routes!(call::get_call))
            .routes(routes!(call::list_all_calls))
            .routes(routes!(call::get_any_call))
            .routes(routes!(selection_check::verify_selection))
            .routes(routes!(selection_check::verify_any_selection))
            .routes(routes!(trace::get_ladder))
            .routes(routes!(trace::get_any_ladder))
            .routes(routes!(trace::list_traces, trace::create_trace))
            .routes(routes!(trace::end_trace))
            .merge(
                OpenApiRouter::new()
                    .routes(routes!(lookup::lookup, lookup_batch::lookup_batch))
                    .layer(DefaultBodyLimit::max(lookup_batch::MAX_BODY)),
            )
            .routes(routes!(lookup::lookup_from))
            .routes(routes!(looking_glass::look))
            .routes(routes!(looking_glass::look_at_all))
            .routes(routes!(reachability::follow_reachability))
            .routes(routes!(overview::member_overview))
            .routes(routes!(overview::overview))
            .routes(routes!(node::list_nodes))
            .routes(routes!(audit::list_audit))
            .routes(routes!(reason::list_reasons))
            .routes(routes!(policy::list_profiles))
            .routes(routes!(configuration::get_configuration))
            .routes(routes!(connect::connect)),
    );
    let (router, mut document) = described.split_for_parts();
    describe_refusals(&mut document);
    (router, document)
}

fn document_head() -> OpenApi {
    OpenApiBuilder::new()
        .info(InfoBuilder::new().title("Tandem").version("1").description(Some(
            "The API of a Tandem exchange: what a member, its software and the operator do.",
        )))
        .security(Some([
            SecurityRequirement::new("bearer", [""; 0]),
            SecurityRequirement::new("cookie", [""; 0]),
        ]))
        .build()
}

/// Adds what every operation has in common: how to sign in, and the problem that any of them may answer.
fn describe_refusals(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("tdm_…").build(),
        ),
    );
    components.add_security_scheme(
        "cookie",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            COOKIE,
            "Set by POST /api/v1/session. A request that changes something also sends x-tandem-csrf: 1.",
        ))),
    );
    for (name, schema) in [
        (Problem::name(), Problem::schema()),
        (FieldError::name(), FieldError::schema()),
        (ReasonCode::name(), ReasonCode::schema()),
    ] {
        components.schemas.insert(name.into_owned(), schema);
    }
    for item in document.paths.paths.values_mut() {
        let operations: [&mut Option<Operation>; 5] =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            // The line that names method and path is for whoever reads the code.
            if let Some((_, summary)) =
                operation.summary.as_deref().and_then(|summary| summary.split_once("`: "))
            {
                operation.summary = Some(summary.to_owned());
            }
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    response.description = "done".to_owned();
                }
            }
            let problem = ContentBuilder::new()
                .schema(Some(RefOr::<utoipa::openapi::Schema>::Ref(Ref::from_schema_name(Problem::name()))))
                .build();
            let response = ResponseBuilder::new()
                .description("Refused; the code says why")
                .content("application/problem+json", problem)
                .build();
            operation.responses.responses.insert("default".to_owned(), RefOr::T(response));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_openapi_document_describes_this_code() {
        let (_, document) = operations();
        let described = document.to_pretty_json().expect("the document is JSON") + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &described).expect("the document can be written");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == described, "run UPDATE_OPENAPI=1 cargo test -p tandem-portal openapi");
    }
}
