# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The address of a database" do
  let(:socket) { CGI.unescape(database_url[/@([^:]+):/, 1]) }
  let(:database) { database_url[%r{/(\w+)\?}, 1] }

  def connect(url)
    Stepwell::Orchestrator.embedded(database_url: url) { |started| [started.database_url, started.status] }
  end

  it "is any form that libpq knows" do
    [
      "postgres://stepwell:s3cret@/#{database}?host=#{socket}&port=5432",
      "postgresql:///#{database}?host=#{socket}&user=stepwell&sslmode=require",
      "postgres://stepwell@#{CGI.escape(socket)}/#{database}?pool=5&connect_timeout=3&application_name=mine",
      "host=#{socket} dbname=#{database} user=stepwell",
      "host='#{socket}' port = 5432 dbname=#{database} user=stepwell password='s3 \\'cret'"
    ].each do |url|
      used, status = connect(url)
      expect(used).to eq(url)
      expect(status[:running]).to be(true)
      expect(status[:database]).not_to include("s3")
      expect(`psql #{Shellwords.escape(url.sub("pool=5&", ""))} -Atc 'select 1'`).to eq("1\n")
    end
  end

  it "says of another database's URL that it is no PostgreSQL URL, and what one looks like" do
    { "mysql2://u:s3cret@h/db" => /mysql2/, "jdbc:postgresql://h/db" => /take jdbc: away/, "db.example" => /such as/,
      "postgresql+psycopg://u:s3cret@h/db" => %r{write postgres:// instead}, "postgres://a,b/db" => /several hosts/,
      "postgres://h/db?service=x" => /service, which does not work here/ }.each do |url, message|
      expect { connect(url) }.to raise_error(Stepwell::ConfigurationError) { |error|
        expect(error.message).to match(message)
        expect(error.message).not_to include("s3cret")
      }
      expect { Stepwell::Worker.new(namespaces: "spec", database_url: url).start }
        .to raise_error(Stepwell::ConfigurationError, message)
    end
    expect { connect("mysql2://u:p@h/db") }.to raise_error(%r{such as postgres://user@host:5432/database})
  end

  it "is none when it holds blanks alone" do
    Stepwell.configure { |c| c.database_url = database_url }
    expect(Stepwell.connection(" ").url).to eq(database_url)
    expect(connect("").first).to eq(database_url)
    Stepwell.configure { |c| c.database_url = " \n" }
    expect(Stepwell.config[:database][:url]).to be_nil
    Stepwell.configure { |c| c.database_url = "#{database_url}\n" }
    expect(connect(nil).first).to eq(database_url)
  end
end
