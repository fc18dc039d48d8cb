# frozen_string_literal: true

require "spec_helper"
require_relative "support/programs"
require_relative "support/tls_server"

RSpec.describe "TLS" do
  include Specs::WherePrograms

  server = nil
  before(:context) { server = Specs::TlsServer.new }
  after(:context) { server.destroy }

  let(:verified) { { sslmode: "verify-full", sslrootcert: server.file("ca.crt") } }

  def connect(url)
    Stepwell::Orchestrator.embedded(database_url: url, &:status)
  end

  it "carries calls, wake-ups and migrations, the certificate and its name checked" do
    url = server.tls_url(**verified)
    crew = start_crew(DATABASE_URL: url)
    run_tasks(crew.last, 5)
    connections = psql(<<~SQL, url: server.local_url)
      select bool_and(s.ssl), bool_or(a.query ilike 'listen%'), count(*) > 3
        from pg_stat_activity a join pg_stat_ssl s using (pid) where a.application_name = 'stepwell'
    SQL
    expect(connections).to eq("t|t|t")
    finish_crew(*crew)
  end

  it "refuses a certificate of another authority" do
    url = server.tls_url(**verified, sslrootcert: server.file("other.crt"))
    expect { connect(url) }.to raise_error(Stepwell::DatabaseError, /invalid peer certificate/)
  end

  it "refuses a certificate for another name, unless nothing is to be checked" do
    expect { connect(server.tls_url(host: "127.0.0.1", **verified)) }
      .to raise_error(Stepwell::DatabaseError, /certificate not valid for name "127.0.0.1"/)
    expect(connect(server.tls_url(host: "127.0.0.1", sslmode: "require"))[:running]).to be(true)
  end

  it "says so when the server takes no connection without TLS" do
    expect { connect(server.tls_url(host: "127.0.0.1", sslmode: "disable")) }
      .to raise_error(Stepwell::DatabaseError, /no pg_hba.conf entry for host "127.0.0.1".*no encryption/)
  end

  it "names a file that is not there" do
    expect { connect(server.tls_url(**verified, sslrootcert: "/nowhere/ca.crt")) }
      .to raise_error(Stepwell::Error, /No such file/)
  end

  it "shows a certificate of its own where the server asks for one" do
    psql("create role certified login; grant create on database postgres to certified", url: server.local_url)
    shown = { sslcert: server.file("client.crt"), sslkey: server.file("client.key") }
    expect { connect(server.tls_url(user: "certified", **verified)) }
      .to raise_error(Stepwell::DatabaseError, /client certificate/)
    connection = Stepwell.connection(server.tls_url(user: "certified", **verified, **shown))
    expect(connection.url).to include("certified")
  end
end
