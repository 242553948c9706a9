"""Pairs of values that a program means: where one of them takes the place of the other, something differs."""

from __future__ import annotations

_TEXT = """
accounts and cards
4111111111111111 | 4242424242424242
5500005555555559 | 5500005555555567
378282246310005 | 371449635398431
6011000990139424 | 6011111111111117
0532013000 | 0532013001
12345678901 | 12345678902
acct-1234567890123456 | acct-1234567890123457
1000-2000-3000 | 1000-2000-3001
DE89370400440532013000 | DE89370400440532013001
GB29NWBK60161331926819 | GB29NWBK60161331926827
FR1420041010050500013M02606 | FR1420041010050500013M02607
NL91ABNA0417164300 | NL91ABNA0417164301
CH9300762011623852957 | CH9300762011623852958
ES9121000418450200051332 | ES9121000418450200051333
DE89 3704 0044 0532 0130 00 | DE89 3704 0044 0532 0130 01
DEUTDEFF500 | COBADEFF060
021000021 | 026009593
110105199003077654 | 110105199003077655
078-05-1120 | 219-09-9999
EU372000041 | EU372000042
bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq | bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4
0x52908400098527886E0F7030069857D2E4169EE7 | 0x8617E340B3D01FA5F11F306F4090FD50E238070D
0xde709f2102306220921060314715629080e2fb77 | 0x27b1fdb04752bbc536007a920d24acb045561c26
versions
1.2.3 | 1.2.4
v2.10.0-rc.1 | v2.10.0-rc.2
3.11.9 | 3.12.1
2024.11.1 | 2024.12.0
1.0.0-beta.20240101 | 1.0.0-beta.20240102
python:3.11-slim-bookworm | python:3.12-slim-bookworm
ubuntu-24.04-lts-amd64 | ubuntu-22.04-lts-amd64
release-2024-05-01-stable | release-2024-05-02-stable
0.0.0-dev.20230817152403 | 0.0.0-dev.20230817152404
kernel-6.8.0-45-generic | kernel-6.8.0-47-generic
jdk-21.0.2-hotspot-linux-x64 | jdk-17.0.10-hotspot-linux-x64
1.28.3-gke.1203001 | 1.28.3-gke.1203002
cuda12.4.1-cudnn-runtime | cuda12.6.2-cudnn-runtime
models
gpt-4o-mini-2024-07-18 | gpt-4o-2024-08-06
gpt-4.1 | gpt-4.1-mini
claude-sonnet-4-5-20250929 | claude-opus-4-1-20250805
claude-3-5-haiku-20241022 | claude-3-haiku-20240307
Claude-Sonnet-4-5-20250929-Thinking | Claude-Sonnet-4-5-20250929
claude3opus20240229 | claude3haiku20240307
gpt4omini20240718 | gpt4turbo20240409
gemini-2.0-flash-exp | gemini-2.5-pro-preview-06-05
meta-llama/Llama-3.3-70B-Instruct | meta-llama/Llama-3.1-8B-Instruct
Qwen2.5-Coder-32B-Instruct-AWQ | Qwen2.5-Coder-7B-Instruct-AWQ
mixtral-8x7b-instruct-v0.1-q4_k_m | mixtral-8x22b-instruct-v0.1-q4_k_m
text-embedding-3-small | text-embedding-3-large
anthropic.claude-v2:1 | anthropic.claude-v2
DeepSeekR1DistillQwen32B | DeepSeekR1DistillLlama70B
BAAI/bge-large-en-v1.5 | BAAI/bge-small-en-v1.5
mistral-large-2407 | mistral-large-2411
whisperlargev3turbo2024 | whispermediumenglish2024
tables, columns and files
orders_2024 | orders_2025
table_customerorders2024 | table_customerorders2023
customerordersarchive2024 | customerordersarchive2023
customer_orders2024archive | customer_orders2023archive
dim_customer_scd2_history | dim_product_scd2_history
stg_salesforce__opportunities_v2 | stg_salesforce__opportunities_v3
fact_order_lines_2023q4 | fact_order_lines_2024q1
public.user_sessions_partition_07 | public.user_sessions_partition_08
analytics_prod.events_20230101 | analytics_prod.events_20230102
eventsPartition20230101Archive | eventsPartition20230102Archive
employees_personal_data1 | employees_personal_data2
t_invoice_line_items_bak01 | t_invoice_line_items_bak02
ix_orders_customerid_createdat1 | ix_orders_customerid_createdat2
report_final_v2.pdf | report_final_v3.pdf
file_finalreportversion2.pdf | file_finalreportversion3.pdf
IMG_20230817_152403.jpg | IMG_20230817_152404.jpg
Screenshot 2023-08-17 at 15.24.03.png | Screenshot 2023-08-18 at 15.24.03.png
QuarterlyReport2024Q3Final.xlsx | QuarterlyReport2024Q4Final.xlsx
budget2024departmentsales.csv | budget2025departmentsales.csv
src/components/UserProfileCardV2.tsx | src/components/UserProfileCardV3.tsx
/var/log/nginx/access.log.1 | /var/log/nginx/access.log.2
/data/2023/08/17/part-00001.parquet | /data/2023/08/17/part-00002.parquet
s3://acme-prod-backups/daily/2023-08-17.tar.gz | s3://acme-prod-backups/daily/2023-08-18.tar.gz
notebooks/exploratoryanalysis03.ipynb | notebooks/exploratoryanalysis04.ipynb
migration_0042_add_index.sql | migration_0043_add_index.sql
translations_pt_br_20230817.json | translations_pt_pt_20230817.json
chapter12introductiontographs.md | chapter13introductiontographs.md
internationalization-of-things | internationalization-of-places
getOrdersOfCustomerV2AndTheirParcels | getOrdersOfCustomerV3AndTheirParcels
TESTRESULTS2026NOVEMBERALLOK | TESTRESULTS2026OCTOBERALLOK
calculateMonthlyRecurringRevenue | calculateAnnualRecurringRevenue
useLocalStorageState | useSessionStorageState
XMLHttpRequestFactoryBean | XMLHttpResponseFactoryBean
rechtsschutzversicherung2024 | haftpflichtversicherung2024
ubezpieczeniekomunikacyjne | ubezpieczeniemieszkaniowe
amounts and measures
12.50 | 12.51
1999.00 EUR | 1899.00 EUR
$1,234,567.89 | $1,234,567.98
1234567890 | 1234567891
999999999999 | 999999999998
0.1 | 0.2
3.14159265358979 | 3.14159265358978
52.520008, 13.404954 | 52.520009, 13.404954
1e-5 | 1e-6
100% | 90%
15000000 | 15000001
10:30 | 10:45
120s | 90s
1.5 GB | 2.5 GB
-273.15 | -273.16
+49 30 901820 | +49 30 901821
+14155552671 | +14155552672
192.168.1.10 | 192.168.1.11
2001:db8:85a3::8a2e:370:7334 | 2001:db8:85a3::8a2e:370:7335
00:1B:44:11:3A:B7 | 00:1B:44:11:3A:B8
dates that are meant
2027-03-01 | 2027-03-02
2024-02-29 | 2024-02-28
2026-12-24T18:00:00Z | 2026-12-24T19:00:00Z
2026-12-24 18:00 | 2026-12-25 18:00
24 December 2026 | 25 December 2026
December 24, 2026 | December 25, 2026
Thu, 24 Dec 2026 18:00:00 GMT | Fri, 25 Dec 2026 18:00:00 GMT
Dec 24 18:00:00 2026 | Dec 25 18:00:00 2026
20261224T180000Z | 20261225T180000Z
20261224180000 | 20261225180000
2026/12/24 | 2026/12/25
1700000000 | 1700000001
1700000000000 | 1700000000001
2026-W52 | 2026-W53
Q3 2026 | Q4 2026
2026-99-99 | 2026-98-99
P3Y6M4DT12H30M5S | P3Y6M4DT12H30M6S
goods and documents
SKU-12345678 | SKU-12345679
sku-12345678 | sku-12345679
SKU-8842-XL-BLK | SKU-8842-XL-WHT
ABC-2024-00017 | ABC-2024-00018
INV-2024-000123 | INV-2024-000124
PO4500012345 | PO4500012346
978-3-16-148410-0 | 978-3-16-148410-1
9783161484100 | 9783161484101
4006381333931 | 4006381333932
1HGCM82633A004352 | 1HGCM82633A004353
B07XJ8C8F5 | B08N5WRWNW
10.1038/s41586-020-2649-2 | 10.1038/s41586-020-2649-3
arXiv:1706.03762 | arXiv:1810.04805
CVE-2021-44228 | CVE-2021-45046
US10123456B2 | US10123457B2
RFC7231 | RFC9110
ISO-27001:2022 | ISO-27001:2013
EU-1 | EU-2
LH1234 | LH1235
WDB1240661F123456 | WDB1240661F123457
M8x1.25x40-A2-70-DIN933 | M8x1.25x45-A2-70-DIN933
STM32F407VGT6 | STM32F429ZIT6
places and machines
eu-west-1 | eu-central-1
us-east-1a | us-east-1b
eu-west-productioncluster01 | eu-west-productioncluster02
db-prod-replica-03.internal.example | db-prod-replica-04.internal.example
k8s-node-pool-general-purpose-2 | k8s-node-pool-general-purpose-3
sg-903004f8 | sg-903004f9
shop-3f9a1c2b | shop-3f9a1c2c
i-1234567 | i-1234568
node07rack12datacenterfrankfurt | node08rack12datacenterfrankfurt
kubernetesworker14frankfurt | kubernetesworker15frankfurt
https://api.example.com/v1/orders?limit=10 | https://api.example.com/v1/orders?limit=20
https://example.com/blog/how-to-choose-a-database | https://example.com/blog/how-to-choose-a-queue
people
user_johnathandoe1985 | user_johnathandoe1986
johnathan.doe.1985@example.com | johnathan.doe.1986@example.com
maximilianmustermann1985 | erikamustermann1985
JohnathanDoe1985Berlin | JohnathanDoe1986Berlin
EMP-004217 | EMP-004218
D-10115 Berlin | D-10117 Berlin
SW1A 1AA | SW1A 2AA
digests of content
a1b2c3d | a1b2c3e
a1b2c3d4 | a1b2c3d5
da39a3ee5e6b4b0d3255bfef95601890afd80709 | da39a3ee5e6b4b0d3255bfef95601890afd8070a
9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 | \\
9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a09
commit-da39a3ee5e6b4b0d3255bfef95601890afd80709 | commit-da39a3ee5e6b4b0d3255bfef95601890afd8070a
SGVsbG8sIHdvcmxkISBIZWxsbyE= | SGVsbG8sIHdvcmxkISBIZWxsbz8=
nightly-import-run | weekly-import-run
job-20240101 | job-20240102
"""

PAIRS = [
    (one, other)
    for line in _TEXT.replace("\\\n", "").splitlines()
    for one, _, other in [line.partition(" | ")]
    if other
]
