/**
 * The report page: one self-contained HTML file that shows what one or several runs did.
 *
 * <p>In reading order: {@link filigree.interp.report.RunPage} writes the page, {@code ReportedRun}
 * reads a run ({@code MetricLog}, {@code ReportedAttention}), {@code Summary} says in words what
 * came out, {@code PageData} is what the page's script draws. Layout, style and script are the
 * resources beside this package: {@code page.html}, {@code run.html}, {@code page.css}, {@code
 * page.js}.
 */
package filigree.interp.report;
