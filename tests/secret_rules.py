"""What an open set of rules looks for (Betterleaks, MIT, July 2026), as facts: one shape of our own for each rule.

A shape is a text with random parts in braces, `{hex 32}`; between bars is the secret.  One that begins with `+` is the
secret alone, within a sentence; one that begins with `=` is the value of an environment variable named as the rule.
"""

from __future__ import annotations

CLAIMED = r"""
1password-secret-key +A3-{UP 6}-{UP 6}-{UP 5}-{UP 5}-{UP 5}-{UP 5}
1password-service-account-token +ops_eyJ{base 250}
adafruit-api-key ={low 32}
adobe-client-secret +p8e-{low 32}
age-secret-key +AGE-SECRET-KEY-1{UP 58}
aikido-ci-token +AIK_CI_{alnum 20}
aikido-client-secret +AIK_SECRET_{alnum 64}
airtable-api-key ={low 17}
airtable-oauth-token =UP{digit 4}.v1.{word 24}.{hex 64}
airtable-personnal-access-token +pat{alnum 14}.{hex 64}
aiven-auth-token ={base 372}
algolia-api-key ={low 32}
alibaba-secret-key ={alnum 30}
alibaba-sts-access-key-secret ={alnum 30}
alibaba-sts-security-token =CAIS{word 20}
amplitude-secret-key ={hex 32}
anthropic-admin-api-key +sk-ant-admin01-{word 93}AA
anthropic-api-key +sk-ant-api03-{word 93}AA
apify-api-token +apify_api_{alnum 34}
artifactory-api-key +AKCp{alnum 68}
asaas-api-token +$aact_prod_{word 20}
asana-client-secret ={low 32}
assemblyai-api-key ={low 32}
atlassian-api-token ={low 20}{hex 4}
aws-access-token +AKIA{UP 16}
aws-amazon-bedrock-api-key-long-lived +ABSK{base 109}
aws-amazon-bedrock-api-key-short-lived +bedrock-api-key-YmVk{base 120}
aws-secret-access-key ={base 40}
azure-ad-client-secret +{alnum 3}8Q~{alnum 31}
azure-app-configuration-connection-string Endpoint=https://a.azconfig.io;Id=b1;Secret=|{alnum 44}|
azure-servicebus-connection-string Endpoint=sb://a.example.org/;SharedAccessKeyName=a;SharedAccessKey=|{base 43}|=
azure-storage-account-key ={base 86}==
beamer-api-token =b_{low 44}
bitbucket-client-secret ={low 64}
bitly-access-token ={hex 40}
bitrise-access-token ={word 60}
bittrex-access-key ={low 32}
bittrex-secret-key ={low 32}
box-api-access-token ={low 32}
buildkite-service-token +bkaa_{word 75}
buildkite-user-access-token +bkua_{low 40}
canadian-digital-service-notify-api-key ApiKey-v1 |gcntfy-job-{uuid 1}-{uuid 1}|
cerebras-api-key +csk-{low 48}
checkout-secret-key =sk_{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
circleci-personal-token +CCIPAT_{alnum 22}_{low 40}
circleci-project-token ={hex 40}
cisco-meraki-api-key ={hex 40}
civo-api-key ={low 50}
clerk-secret-key =sk_test_{alnum 32}
clickup-personal-api-token =pk_{digit 8}_{low 32}
clojars-api-token +CLOJARS_{low 60}
cloudflare-api-key ={low 40}
cloudflare-global-api-key ={hex 37}
cloudflare-origin-ca-key +v1.0-{hex 24}-{hex 146}
cloudinary-api-key ={digit 15}
cloudinary-api-secret ={alnum 32}
cloudsmith-api-key +csa_{hex 30}{alnum 6}
cockroachlabs-cloud-api-key +CCDB1_{alnum 22}_{alnum 40}
codecov-access-token ={UP 36}
cohere-api-token ={alnum 40}
coinbase-access-token ={low 64}
configcat-sdk-key ={word 22}/{word 22}
configcat-sdk-key-extended +configcat-sdk-1/{word 22}/{word 22}
confluent-access-token ={low 16}
confluent-secret-key ={low 64}
contentful-delivery-api-token ={low 43}
couchbase-capella-api-key ={base 60}
coveralls-personal-api-token ={alnum 37}
crates-io-api-key =cio{alnum 32}
curl-auth-header curl -H "Authorization: Bearer |{alnum 24}|" https://a.example.org
curl-auth-user curl -u ada:|{alnum 12}| https://a.example.org
cursor-api-key =key_{hex 64}
databento-api-key =db-{alnum 29}
databricks-api-token +dapi{hex 32}
datadog-api-key ={low 32}
datadog-application-key ={alnum 40}
datagov-api-key ={low 40}
datastax-astra-application-token +AstraCS:{alnum 20}
deepgram-api-key ={hex 40}
deepseek-api-key =sk-{hex 32}
defined-networking-api-token =dnkey-{low 26}-{low 52}
deno-account-token +ddp_{alnum 36}
devcycle-server-sdk-key +dvc_server_{alnum 32}
devin-personal-api-key +apk_user_{base 120}
devin-service-api-key +apk_{base 80}
devin-service-user-token +cog_{base32 52}
digitalocean-access-token +doo_v1_{hex 64}
digitalocean-pat +dop_v1_{hex 64}
digitalocean-refresh-token +dor_v1_{hex 64}
discord-api-token ={hex 64}
discord-client-secret ={low 32}
disqus-api-key ={low 64}
docker-swarm-join-token +SWMTKN-1-{low 50}-{low 24}
docker-swarm-unlock-key +SWMKEY-1-{base 40}
dockerhub-organization-access-token +dckr_oat_{word 32}
dockerhub-personal-access-token +dckr_pat_{word 27}
doppler-api-token +dp.pt.{low 43}
droneci-access-token ={low 32}
dropbox-api-token ={low 15}
dropbox-long-lived-api-token ={low 11}AAAAAAAAAA{low 43}
dropbox-short-lived-api-token =sl.{low 135}
duffel-api-token +duffel_test_{low 43}
dynatrace-api-token +dt0c01.{low 24}.{low 64}
ebay-client-secret =PRD-{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 4}
elastic-cloud-api-key +essu_{word 60}
elevenlabs-api-key =sk_{hex 48}
endorlabs-api-key =endr+{alnum 16}
endorlabs-api-secret =endr+{alnum 16}
etsy-open-api-key ={low 24}:{low 10}
exoscale-api-secret ={word 40}
facebook-access-token FACEBOOK_ACCESS_TOKEN=|{digit 15}{alnum 27}|
facebook-page-access-token +EAAM{alnum 120}
facebook-secret ={hex 32}
fastly-api-token ={low 32}
figma-personal-access-header-token ={hex 4}-{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
figma-personal-access-token +figd_{UP 38}
finicity-api-token ={hex 32}
finicity-client-secret ={low 20}
finnhub-access-token ={low 20}
flickr-access-token ={low 32}
flutterwave-encryption-key +FLWSECK_TEST-{low 12}
flutterwave-secret-key +FLWSECK_TEST-{low 32}-X
flyio-access-token FlyV1 |fm2_{base 100}|
frameio-api-token +fio-u-{low 64}
freemius-secret-key 'secret_key' => '|sk_{alnum 29}|'
freshbooks-access-token ={low 64}
fullstory-api-key =na1.{alnum 20}
gcp-api-key +AIza{word 35}
gcp-application-default-credentials {"client_secret": "|{word 24}|", "refresh_token": "a"}
gcp-gemini-api +AQ.Ab8RN6{word 44}
gcp-service-account +{x"private_key":"-----BEGIN PRIVATE KEY-----xauth_provider_x509_cert_urlx}
generic-api-key ={word 10}
gitea-access-token ={hex 40}
github-app-token +ghu_{alnum 36}
github-fine-grained-pat +github_pat_{alnum 82}
github-oauth +gho_{alnum 36}
github-pat +ghp_{alnum 36}
github-refresh-token +ghr_{alnum 36}
gitlab-cicd-job-token +glcbt-1a_{alnum 20}
gitlab-deploy-token +gldt-{word 20}
gitlab-feature-flag-client-token +glffct-{word 20}
gitlab-feed-token +glft-{word 20}
gitlab-incoming-mail-token +glimt-{word 25}
gitlab-kubernetes-agent-token +glagent-{word 50}
gitlab-oauth-app-secret +gloas-{word 64}
gitlab-pat +glpat-{word 20}
gitlab-pat-routable +glpat-{word 27}.{low 2}{low 7}
gitlab-pat-routable-versioned +glpat-{word 27}.{low 2}.{low 9}
gitlab-ptt +glptt-{hex 40}
gitlab-runner-authentication-token +glrt-{word 20}
gitlab-runner-authentication-token-routable +glrt-t1_{alnum 27}.0{low 8}
gitlab-scim-token +glsoat-{word 20}
gitlab-session-cookie Cookie: |_gitlab_session={hex 32}|
gitter-access-token ={low 40}
gocardless-api-token =live_{low 40}
grafana-api-key +eyJrIjoi{alnum 80}
grafana-cloud-api-token +glc_{base 40}
grafana-service-account-token +glsa_{alnum 32}_{hex 8}
greptile-api-key ={base 48}
groq-api-key +gsk_{UP 52}
gumroad-access-token ={hex 64}
harness-api-key +pat.{alnum 22}.{hex 24}.{alnum 20}
hashicorp-tf-api-token +{low 14}.atlasv1.{low 60}
hashicorp-tf-password ="{low 8}"
heroku-api-key ={hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
heroku-api-key-v2 +HRKU-AA{word 58}
highnote-secret-live-key =sk_live_a2V5Xz{base 69}
honeycomb-api-key ={hex 32}
hubspot-api-key ={hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
huggingface-access-token +hf_{alnum 34}
huggingface-organization-api-token +api_org_{alnum 34}
ibm-cloud-user-api-key ={low 42}
influxdb-api-token ={word 88}
infomaniak-api-token ={word 60}
infracost-api-token +ico-{alnum 32}
intercom-api-key ={low 60}
intra42-client-secret +s-s4t2ud-{hex 64}
ionic-personal-access-token +ion_{alnum 42}
jumpcloud-api-key ={low 40}
jwt +eyJ{alnum 17}.eyJ{word 17}.{alnum 43}
kagi-api-key ={low 11}.{low 43}
kimi-api-key =sk-{word 48}
klaviyo-api-key =pk_{low 34}
kraken-access-token ={low 80}
kubernetes-secret-yaml kind: Secret\ndata:\n  password: |{alnum 16}|\n
kucoin-access-token ={hex 24}
kucoin-secret-key ={hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
langchain-langsmith-personal-access-token +lsv2_pt_{hex 32}_{hex 10}
langchain-langsmith-service-key +lsv2_sk_{hex 32}_{hex 10}
lark-app-secret ={alnum 32}
launchdarkly-access-token ={low 40}
lichess-personal-access-token +lip_{alnum 20}
lighton-paradigm-api-key ={word 40}
linear-api-key +lin_api_{low 40}
linear-client-secret ={hex 32}
linkedin-client-secret ={low 16}
lob-api-key =live_{hex 35}
lob-pub-api-key =test_pub_{hex 31}
looker-client-secret ={low 24}
mailchimp-api-key ={hex 32}-us12
mailersend-api-token +mlsn.{alnum 30}
mailgun-private-api-token =key-{hex 32}
mailgun-signing-key ={low 32}-{low 8}-{low 8}
mapbox-api-token =pk.{low 60}.{low 22}
mattermost-access-token ={low 26}
mercury-production-api-token +mercury_production_{lower 3}_{alnum 40}_yrucrem
mergify-application-key +mergify_application_key_{word 40}
messagebird-api-token ={low 25}
midtrans-production-server-client-key =Mid-server-{alnum 10}
minimax-api-key +sk-api-{word 119}
mistral-api-key ={UP 32}
mongodb-atlas-service-account-secret +mdb_sa_sk_{word 40}
mongodb-connection-string mongodb://ada:|{alnum 12}|@db.example.org/shop
neon-api-key +napi_{alnum 64}
netlify-access-token ={low 40}
new-relic-browser-api-token =NRJS-{hex 19}
new-relic-insert-key =NRII-{low 32}
new-relic-user-api-key =NRAK-{low 27}
notion-api-token +ntn_{digit 11}{alnum 32}{alnum 3}
npm-access-token +npm_{low 36}
nuget-config-password <add key="ClearTextPassword" value="|{alnum 12}|" />
nvidia-api-key +nvapi-{UP 60}
nytimes-access-token ={low 32}
octopus-deploy-api-key +API-{UP 26}
okta-access-token =00{word 40}
ollama-api-key ={hex 32}.{word 24}
onesignal-rich-authentication-token +os_v2_app_{low 103}
onfido-live-api-token-ca +api_live_ca.{alnum 32}
onfido-live-api-token-eu +api_live.{alnum 32}
onfido-live-api-token-us +api_live_us.{alnum 32}
openai-api-key +sk-proj-{word 74}T3BlbkFJ{word 74}
openrouter-api-key +sk-or-v1-{hex 64}
openshift-user-token +sha256~{word 43}
openweather-api-key ={low 32}
ovh-application-key ={alnum 16}
ovh-application-secret ={alnum 32}
ovh-consumer-key ={alnum 32}
paddle-live-api-key +pdl_live_apikey_{low 26}_{alnum 22}_{alnum 3}
perplexity-api-key +pplx-{alnum 48}
persona-production-api-key +persona_production_{UP 20}
pinecone-api-key ={hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
pinterest-access-token +pina_{alnum 40}
plaid-api-token =access-sandbox-{hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
plaid-secret-key ={low 30}
planetscale-api-token +pscale_tkn_{word 32}
planetscale-oauth-token +pscale_oauth_{word 32}
planetscale-password +pscale_pw_{word 32}
plivo-auth-token ={word 40}
polar-oauth-access-token +polar_at_{word 20}
polar-organization-access-token +polar_oat_{word 20}
polar-personal-access-token +polar_pat_{word 20}
polymarket-api-key ={hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
polymarket-api-secret ={base 40}
polymarket-passphrase ={alnum 8}
polymarket-private-key =0x{hex 64}
posthog-personal-api-key +phx_{word 41}
postman-api-token +PMAK-{hex 24}-{hex 34}
prefect-api-token +pnu_{alnum 36}
private-key -----BEGIN PRIVATE KEY-----\n|{base 64}|\n-----END PRIVATE KEY-----
privateai-api-token ={low 32}
proof-full-access-api-key +prf_{alnum 40}
pulumi-api-token +pul-{hex 40}
pypi-upload-token +pypi-AgEIcHlwaS5vcmc{word 50}
rainforest-pay-production-api-key =apikey_{hex 64}
ramp-client-secret +ramp_sec_{alnum 48}
rapidapi-access-token ={low 50}
readme-api-token +rdme_{low 70}
redirect-pizza-api-token +rpa_{alnum 30}
render-api-key +rnd_{alnum 28}
replicate-api-token +r8_{alnum 37}
rootly-api-key +rootly_{hex 64}
rubygems-api-token +rubygems_{hex 48}
runpod-api-key +rpa_{UP 40}{alnum 6}
samsara-api-token +samsara_api_{alnum 26}
scaleway-secret-key ={hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
scalingo-api-token +tk-us-{word 48}
scalr-api-access-token =eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1c2VyIiwianRpIjoiYXQt{word 20}.{word 43}
segment-public-api-token +sgp_{alnum 64}
sendbird-access-token ={hex 40}
sendgrid-api-token +SG.{low 66}
sendinblue-api-token +xkeysib-{hex 64}-{alnum 16}
sentry-access-token ={hex 64}
sentry-org-token +sntrys_eyJpYXQiO{alnum 30}LCJyZWdpb25fdXJs{alnum 30}_{alnum 43}
sentry-user-token +sntryu_{hex 64}
shippo-api-token +shippo_live_{hex 40}
shopify-access-token +shpat_{hex 32}
shopify-custom-access-token +shpca_{hex 32}
shopify-private-app-access-token +shppa_{hex 32}
shopify-shared-secret +shpss_{hex 32}
sidekiq-secret ={hex 8}:{hex 8}
sidekiq-sensitive-url https://{hex 8}:|{hex 8}|@gems.contribsys.com/
slack-app-token +xapp-1-{UP 11}-{digit 13}-{hex 64}
slack-bot-token +xoxb-{digit 10}-{digit 10}
slack-config-access-token use xoxe.|xoxb-1-{UP 163}| now
slack-config-refresh-token +xoxe-1-{UP 146}
slack-legacy-bot-token +xoxb-{digit 8}-{alnum 18}
slack-legacy-token +xoxs-{digit 10}-{digit 10}-{digit 10}-{hex 10}
slack-legacy-workspace-token +xoxa-2-{alnum 40}
slack-session-cookie +xoxd-{alnum 100}
slack-session-token +xoxc-{digit 9}-{digit 9}-{digit 9}-{hex 64}
slack-user-token +xoxp-{digit 11}-{digit 11}-{digit 11}-{hex 32}
slack-webhook-url https://hooks.slack.com/services/|T{UP 8}/B{UP 8}/{alnum 24}|
snowflake-programmatic-access-token ={word 100}
snyk-api-token ={hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
sonar-api-token =login
sourcegraph-access-token +sgp_{hex 16}_{hex 40}
square-access-token +EAAA{alnum 60}
squarespace-access-token ={hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
sslmate-api-key ={alnum 36}
stability-ai-api-key =sk-{alnum 48}
stripe-access-token +sk_test_{alnum 10}
sumologic-access-token ={low 64}
supabase-management-token +sbp_{low 40}
supabase-project-api-key +sb_secret_{word 31}
tailscale-api-key +tskey-api-{alnum 12}CNTRL-{alnum 20}
telegram-bot-api-token ={digit 5}:A{low 34}
telnyx-api-v2-key =KEY{word 55}
temporal-cloud-api-key +eyJ{word 10}.Y2NvdW50X2lkInRlbXBvcmFsLmlvICJrZXlfaWQiOi{word 20}.{word 20}
thunderstore-api-token +tss_{alnum 40}
togetherai-api-key +tgp_v1_{word 43}
travisci-access-token ={low 22}
twilio-api-key +SK{hex 32}
twitch-api-token ={low 30}
twitter-access-secret ={low 45}
twitter-access-token ={digit 15}-{alnum 20}
twitter-api-key ={low 25}
twitter-api-secret ={low 50}
twitter-bearer-token =AAAAAAAAAAAAAAAAAAAAAA{alnum 80}
typeform-api-token =tfp_{low 59}
unkey-root-key +unkey_{alnum 20}
upcloud-api-token +ucat_{alnum 24}
upstage-api-key ={alnum 40}
val-town-api-token +vtwn_{word 20}
vault-batch-token +hvb.{word 138}
vault-service-token +hvs.{word 90}
vercel-ai-gateway-key +vck_{word 56}
vercel-api-token ={UP 24}
vercel-app-access-token +vca_{word 56}
vercel-app-refresh-token +vcr_{word 56}
vercel-integration-token +vci_{word 56}
vercel-personal-access-token +vcp_{word 56}
wakatime-api-key ={hex 8}-{hex 4}-{hex 4}-{hex 4}-{hex 12}
wakatime-api-key-new +waka_{low 36}
weatherstack-api-key ={low 32}
weights-and-biases-api-key ={hex 40}
weights-and-biases-api-key-v1 +wandb_v1_{alnum 77}
workato-developer-api-token +wrka-eyJ{word 8}.{word 16}.{word 64}
workos-production-api-key =sk_live_a2V5Xz{base 69}
xai-api-key +xai-{word 70}
yandex-access-token =t1.{word 12}.{word 86}
yandex-api-key =AQVN{word 35}
yandex-aws-access-token =YC{word 38}
zai-api-key ={hex 32}.{low 16}
zendesk-secret-key ={low 40}
zuplo-consumer-api-key +zpka_{low 32}_{hex 8}
"""

NOT_CLAIMED = {
    "an id or a name, no secret": (
        "adobe-client-id aikido-client-id alibaba-access-key-id alibaba-sts-access-key-id asana-client-id azure-"
        " client-id azure-storage-account-name azure-tenant-id bitbucket-client-id canva-client-id clickhouse-"
        " cloud-key-id cloudinary-cloud-name discord-client-id ebay-client-id lark-app-id linkedin-client-id"
        " looker-client-id messagebird-client-id mongodb-atlas-service-account-id new-relic-user-api-id plaid-"
        " client-id planetscale-id plivo-auth-id ramp-client-id sendbird-access-id sumologic-access-id tableau-"
        " personal-access-token-name"
    ),
    "an address, no secret": (
        "artifactory-jfrog-url salesforce-instance-url snowflake-account-host supabase-project-url tableau- server-host"
    ),
    "public by intention": (
        "devcycle-client-sdk-key devcycle-mobile-sdk-key flutterwave-public-key mailgun-pub-key polymarket-"
        " address posthog-project-api-key"
    ),
    "its beginning is part of a word: found under a name only": (
        "artifactory-reference-token brave-search-api-key canva-client-secret clickhouse-cloud-api-secret-key"
        " easypost-api-token easypost-test-api-token exoscale-api-key gitlab-rrt maxmind-license-key salesforce-"
        " access-token tableau-personal-access-token"
    ),
    "its beginning, as sc_, is in many names: found under a name only": ("authress-service-client-access-key"),
    "base64 of a token: only PEM keys are looked for in it": ("jwt-base64"),
    "an address made of ids alone": ("microsoft-teams-webhook"),
    "a file, no text": ("pkcs12-file"),
    "16 characters are too few for the quick look": (
        "settlemint-application-access-token settlemint-personal-access-token settlemint-service-access-token"
    ),
}
